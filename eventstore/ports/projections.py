"""The part of the storage port for projections: its methods, their values and an error.

What waits is a coroutine; see `eventstore.ports.effects`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from eventstore.model.errors import SubscriptionError
from eventstore.model.projection import ProjectionInfo
from eventstore.model.subscription import SubscriptionOptions
from eventstore.ports.waits import Waits

__all__ = [
    "Created",
    "Decide",
    "Dropped",
    "Projects",
    "Rebuilt",
    "StoredProjection",
    "Switched",
    "VersionChange",
    "belongs_to_projection",
]


@dataclass(frozen=True, slots=True)
class StoredProjection:
    """What is stored of a version, while nobody else can change it."""

    is_there: bool
    """Its tables were created."""
    is_current: bool
    has_versions: bool
    """There is this version or another one of its name."""
    subscription_id: int | None
    """None: its subscription is gone, or never began."""
    checkpoint: int | None
    """Of that subscription."""


@dataclass(frozen=True, slots=True)
class Created:
    """The tables of a version were created; its subscription begins."""

    options: SubscriptionOptions
    is_current: bool


@dataclass(frozen=True, slots=True)
class Switched:
    """Readers were led to a version."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The tables of a version are empty again; its subscription begins anew."""

    options: SubscriptionOptions


@dataclass(frozen=True, slots=True)
class Dropped:
    """A version is not needed any more; its subscription ends."""


VersionChange = Created | Switched | Rebuilt | Dropped

Decide = Callable[[StoredProjection, Any], Awaitable[VersionChange | None]]
"""Does what belongs to a change over a connection; returns the change, None if there is none."""


def belongs_to_projection(stream_id: str, subscription_name: str) -> SubscriptionError:
    """Return the error of who would change the subscription of a version without its tables."""
    return SubscriptionError(
        f"subscription {subscription_name!r} to {stream_id!r} belongs to a projection, whose tables"
        " change together with it: use project, rebuild_projection or drop_projection",
        stream_id,
        subscription_name,
    )


class Projects(Protocol):
    """What a storage does with projections."""

    def projections(self, deadline: float) -> list[ProjectionInfo]:
        """Return every version of every projection, by name and version, in one read."""

    async def change_projection(
        self,
        name: str,
        version: int,
        decide: Decide,
        idle: float,
        deadline: float,
        waits: Waits,
        *,
        alone: bool,
    ) -> int | None:
        """Change a version and its tables in one transaction, or neither.

        Args:
            name: The projection. Others wait who change it, too.
            version: The version.
            decide: Called within the transaction. What it raises leaves nothing changed.
            idle: Seconds for which the transaction may be idle before the storage ends it.
            deadline: When to give up the wait for others. *decide* waits as long for each lock.
                Calls after it have deadlines of their own.
            waits: How the caller waits, and so which kind of connection *decide* gets.
            alone: No handler of the version writes meanwhile.

        Returns:
            The subscription of the version; None if it is gone.

        Raises:
            BaseException: From *decide*, as it is, unless the connection was lost or a lock was
                not to be had.
            ValueError: The storage has no transactions, or the subscription would start beyond the
                head.
            RuntimeError: *decide* left the connection in a state in which it cannot commit, or has
                ended the transaction.
            ProjectionError: A subscription has the name of the version.
            OutcomeUnknownError: It may be changed.
            StorageError: Nothing was changed.
        """
