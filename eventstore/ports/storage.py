"""The port to whatever holds the events: what a storage must do, and the values that cross it.

Payloads cross as bytes; nothing here knows JSON, threads of a runtime, or a driver. Deadlines are
moments of `time.monotonic`. Every method raises `StorageUnavailableError` when the storage cannot
be reached before its deadline, and never blocks longer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol
from uuid import UUID

from eventstore.model.events import StreamInfo
from eventstore.model.subscription import SubscriptionInfo
from eventstore.ports.ownership import Claim, Claimed, Fence, Held, Kept, Progress, Standing
from eventstore.ports.stored_events import Append, Outcome, StoredEvent

__all__ = [
    "AnnounceSession",
    "Announced",
    "AppendSession",
    "HeadListener",
    "Heard",
    "KeeperSession",
    "ReadDirection",
    "Storage",
]


class AppendSession(Protocol):
    """One connection that appends. Used by one thread at a time; connects again by itself."""

    def append(self, appends: Sequence[Append], deadline: float) -> list[Outcome]:
        """Store several appends in one commit, each on its own.

        Streams and event ids must be distinct over all of *appends*.

        Returns:
            One outcome per append, in order.

        Raises:
            StorageUnavailableError: Certainly nothing was written.
            OutcomeUnknownError: The connection was lost, or the deadline passed, after sending.
            StorageError: The database refused the statement; nothing was written. One of the
                appends may be the reason: try them one by one.
        """

    def announce(self, wait: float) -> None:
        """Wake everybody who listens, after a commit. Never raises.

        For a caller without a thread that announces; see `AnnounceSession`.

        Args:
            wait: Longest wait in seconds for other commits that announce.
        """

    def close(self) -> None:
        """Give up the connection. Harmless when repeated."""


class KeeperSession(Protocol):
    """One connection that renews leases and writes checkpoints, for all of a runtime.

    Used by one thread; connects again by itself.
    """

    def keep(self, progress: Sequence[Progress], lease: float, deadline: float) -> list[Kept]:
        """Renew the leases and store the checkpoints, in one statement that waits for no lock.

        Returns:
            One `Kept` per fence, in the order of *progress*. A lease that somebody else has locked
            is left out: it was not renewed, and must not cost the others theirs.
        """

    def release(self, progress: Sequence[Progress], deadline: float) -> Collection[Fence]:
        """Store the last checkpoints and end the ownership, so that a standby goes on at once.

        In one statement that waits for no row. A fence that no longer matches is ignored.

        Returns:
            The fences whose position somebody else has locked: they are not released, try again.
        """

    def look(self, position_ids: Sequence[int], deadline: float) -> dict[int, Standing]:
        """Read what the rows of the positions say, without locking or writing anything.

        Returns:
            By position. A position whose subscription was deleted is missing.
        """

    def close(self) -> None: ...


class Announced(Enum):
    """What became of an announcement."""

    SENT = "sent"
    UNHEARD = "unheard"
    """Nobody listens to the events of the store, so nothing was sent."""
    LOST = "lost"


class AnnounceSession(Protocol):
    """One connection that wakes other processes. Used by one thread; connects again by itself."""

    def announce(
        self, *, events: bool, subscriptions: Collection[int], deadline: float
    ) -> Announced:
        """Wake everybody who listens. Never raises.

        Args:
            events: New events were committed.
            subscriptions: Ids of the subscriptions that were changed.
            deadline: When to give up.

        Returns:
            What became of it. Where it was lost, others find out by polling.
        """

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Heard:
    """What a listener found when it was woken, or when it looked by itself."""

    head: int
    """Newest global position of the store, or the floor that deleted events left."""
    reconnected: bool
    """The connection is new: what was announced before may have been missed."""
    touched: frozenset[int] = frozenset()
    """Ids of subscriptions that were released, paused, resumed, reset or deleted somewhere."""
    deaf: bool = False
    """Announcements do not arrive, through a pooler for instance: what is new is looked for."""
    newest: UUID | None = None
    """The event at the head; None if there is none: it was deleted, or the store is empty."""
    deletion_no: int = 0
    """The newest deletion. A higher one than before: forget the events held in memory."""


class HeadListener(Protocol):
    """One connection that learns of new events. Used by one thread, woken from any."""

    def wait(self, timeout: float, *, prompt: bool = True) -> Heard:
        """Block until something was announced, `wake` was called or *timeout* seconds passed.

        A lost connection is made anew. An announcement is only a hint to look: the head is read
        from the storage before this returns, whatever woke it. So a lost announcement costs a delay
        and never an event, and a forged one costs a look.

        Args:
            timeout: Seconds.
            prompt: False: nobody is in a hurry, so nothing needs to be announced to us, and news
                may come as late as *timeout*. The first prompt call after such a one returns at
                once, as a reconnect does.

        Raises:
            StorageUnavailableError: Not connected, and could not connect within *timeout*. Call
                again.
        """

    def read_all(
        self, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        """Read as `Storage.read_after` reads ``$all``, on the listener's own connection."""

    def wake(self) -> None:
        """Make `wait` return at once, from any thread."""

    def close(self) -> None: ...


class ReadDirection(Enum):
    """Which way a read goes."""

    FORWARD = 1
    BACKWARD = -1


class Storage(Protocol):
    """Where events and subscriptions live. Every method may be called from any thread."""

    @property
    def dsn(self) -> str:
        """The connection string in use."""

    def open(self, *, init: bool, deadline: float) -> None:
        """Prove that the storage can be reached and has the right schema.

        Args:
            init: Install or migrate the schema if needed.
            deadline: When to give up.

        Raises:
            SchemaVersionError: The schema is missing, too old or too new.
            StorageError: The server is refused, for instance because it runs without fsync.
        """

    def close(self) -> None:
        """Give up every connection. Harmless when repeated."""

    def append_session(self) -> AppendSession: ...

    def keeper_session(self) -> KeeperSession: ...

    def head_listener(self) -> HeadListener: ...

    def announce_session(self) -> AnnounceSession: ...

    def read_stream(
        self, stream_id: str, start: int, count: int, direction: ReadDirection, deadline: float
    ) -> list[StoredEvent]:
        """Read at most *count* events of a stream from version *start* on, inclusive.

        Backward, a *start* beyond the end is the end.

        Raises:
            StreamNotFoundError, StreamDeletedError: There is nothing to read from.
        """

    def read_all(
        self, start: int, count: int, direction: ReadDirection, deadline: float
    ) -> list[StoredEvent]:
        """Read at most *count* events of all streams from global position *start* on."""

    def read_after(
        self, stream_id: str, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        """Read what a subscription has not seen: at most *count* events after position *after*.

        A missing stream is an empty one. The events sum up to at most *max_bytes*, except that
        the first one is always read.
        """

    def stream_info(self, stream_id: str, deadline: float) -> StreamInfo:
        """Return the state of a stream, or of the store for ``$all``.

        Raises:
            StreamNotFoundError: It does not exist. A deleted stream is described, not refused.
        """

    def streams(self, after: str | None, count: int, deadline: float) -> list[StreamInfo]:
        """Return at most *count* streams, deleted ones too, in byte order of their ids.

        Those that come after the id *after*; None: from the first.
        """

    def stream_count(self, deadline: float) -> int:
        """Return how many streams there are, without the deleted ones."""

    def history_holds(self, global_position: int, event_id: UUID, deadline: float) -> bool:
        """Tell whether the event at *global_position* still is *event_id*.

        True also for a position that was deleted. False: the database went back in time.
        """

    def claim(self, claim: Claim, deadline: float) -> Claimed | Held:
        """Take a subscription over if nobody holds it.

        It is free if it was released, if its lease ran out by the storage's clock, or if its mark
        is still the one that the claimant watched.

        Raises:
            SubscriptionNotFoundError: *claim* is by id, and that subscription was deleted.
        """

    def subscriptions(self, deadline: float) -> list[SubscriptionInfo]:
        """Return every subscription, by stream and name, in one consistent read."""

    def subscription_info(
        self, stream_id: str, subscription_name: str, deadline: float
    ) -> SubscriptionInfo:
        """Return one subscription.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """

    def set_paused(
        self, stream_id: str, subscription_name: str, *, paused: bool, deadline: float
    ) -> None:
        """Pause or resume a subscription, wherever it runs, and announce that.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """

    def reset_subscription(
        self, stream_id: str, subscription_name: str, position: int, deadline: float
    ) -> None:
        """Set the checkpoint, fence the present owner, and announce that.

        Raises:
            SubscriptionNotFoundError: It does not exist.
            ValueError: *position* is beyond the head of what is subscribed to.
        """

    def delete_subscription(self, stream_id: str, subscription_name: str, deadline: float) -> None:
        """Forget a subscription, fence its owner, and announce that.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """
