"""The part of the storage port for parked events: its methods, and the values that they take."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from eventstore.model.errors import SubscriptionError
from eventstore.model.parked import ParkedEvent
from eventstore.ports.ownership import Fence, Tried
from eventstore.ports.stored_events import StoredEvent

__all__ = [
    "Choice",
    "Dropped",
    "Most",
    "ParkedKey",
    "ParkedPlace",
    "Parking",
    "ParkingOutcome",
    "ParksEvents",
    "Why",
    "has_parked",
]


@dataclass(frozen=True, slots=True)
class ParkedPlace:
    """Where an event is that is to be parked."""

    key: str
    position: int
    global_position: int


@dataclass(frozen=True, slots=True)
class Why:
    """Why an event is parked."""

    reason: str
    error: str | None = None
    """None: it follows a parked event with its key."""
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Most:
    """Bounds of what a subscription may have parked."""

    events: int
    of_key: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parking:
    """A request of an owner to park events, and to move its checkpoint beyond them."""

    fence: Fence
    checkpoint: int
    """Everything up to it is acknowledged, or parked with these events."""
    events: Sequence[ParkedPlace]
    why: Why
    follows: bool
    """They were not handled: each comes after a parked event with its key."""
    most: Most | None
    """None: the owner knows that there is room, so they need not be counted."""


class ParkingOutcome(IntEnum):
    """Result of parking. Nothing changed unless it is `DONE`."""

    DONE = 0
    FENCED = 1
    """They belong to another owner, or the database was set back to before them."""
    NOT_PARKED = 2
    """A key that they follow is not parked any more: look at the keys again."""
    TOO_MANY = 3
    TOO_MANY_OF_KEY = 4


@dataclass(frozen=True, slots=True)
class ParkedKey:
    """A key of which events are parked."""

    key: str
    marked_up_to: int | None
    """Position of the last one that is to be delivered again; None: none is."""
    events: int
    """How many are parked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A choice among the parked events of a subscription: the oldest ones."""

    stream_id: str
    subscription_name: str
    key: str | None
    """None: of any key."""
    limit: int | None
    skip_reason: str | None
    """Skip them for good; None: have the owner deliver them again."""
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Dropped:
    """Parked events that went with a reset or a delete."""

    events: int = 0
    first: int | None = None
    """Lowest position of them; None: there were none."""
    last: int | None = None
    """Highest position of them."""
    is_all: bool = True
    """False: an answer was lost, and more may have gone before it."""


def has_parked(stream_id: str, subscription_name: str, events: int) -> SubscriptionError:
    """Return the error of a delete that would drop parked events unasked."""
    return SubscriptionError(
        f"subscription {subscription_name!r} to {stream_id!r} has {events:,} parked events, which"
        " would be lost: retry or skip them first, or drop them (drop_parked)",
        stream_id,
        subscription_name,
    )


class ParksEvents(Protocol):
    """What a storage does with parked events."""

    def park(self, parking: Parking, deadline: float) -> ParkingOutcome:
        """Park events and move the checkpoint, in one fenced statement.

        Those that were deleted meanwhile are passed over.
        """

    def unpark(
        self,
        fence: Fence,
        delivered: Mapping[str, int],
        ended: Collection[str],
        deadline: float,
    ) -> set[str] | None:
        """Remove the marked events of each key up to a position, which were delivered.

        Of keys that *ended*, as no read finds more, marked events that exist no more go, too. If a
        key is free then, that is durable.

        Returns:
            The keys of which others are parked; None: the fence does not match.
        """

    def keep_parked(self, fence: Fence, event: ParkedPlace, why: Why, deadline: float) -> bool:
        """Leave the events of a key parked, the first of which failed again.

        Returns:
            False if the fence does not match.
        """

    def note_tries(
        self, fence: Fence, checkpoint: int, least: int, tried: Tried | None, deadline: float
    ) -> bool:
        """Note which event is handed out alone next, and store the checkpoint before it.

        Returns:
            False if the fence does not match, or the database was set back: to before the
            checkpoint, or the stored one to before *least*.
        """

    def skip_replayed(self, fence: Fence, position: int, reason: str, deadline: float) -> bool:
        """Give up the event at *position*, which was delivered again; *reason* is kept with it.

        Returns:
            False if the fence does not match.
        """

    def parked_keys(self, subscription_id: int, deadline: float) -> list[ParkedKey]:
        """Return the keys of which events are parked, by their oldest event."""

    def read_parked(
        self,
        subscription_id: int,
        keys: Sequence[str],
        after: int,
        count: int,
        max_bytes: int,
        deadline: float,
    ) -> list[StoredEvent]:
        """Read at most *count* marked events of *keys*, key by key; of the first, after *after*.

        They have at most *max_bytes* bytes; the first event is read whatever its size.
        """

    def parked(
        self, stream_id: str, subscription_name: str, after: int, count: int, deadline: float
    ) -> list[ParkedEvent]:
        """Return at most *count* parked events after position *after*, by position.

        Raises:
            SubscriptionNotFoundError: The subscription does not exist.
        """

    def choose_parked(self, choice: Choice, deadline: float) -> int:
        """Mark or skip parked events, and announce it. Return their number.

        Raises:
            OutcomeUnknownError: They may be skipped; others would be if it were repeated.
            SubscriptionNotFoundError: The subscription does not exist.
        """
