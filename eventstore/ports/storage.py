"""The port to a storage of events: its methods, and the values that they take and return.

Payloads are bytes; nothing here knows JSON, the threads of a runtime, or a driver. Deadlines are
moments of `time.monotonic`. A method with a deadline raises `StorageUnavailableError` if it cannot
reach the storage before its deadline, and never blocks longer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol
from uuid import UUID

from eventstore.model.events import StreamInfo
from eventstore.model.stream_listing import StreamListing
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
    "KnownEvent",
    "ReadDirection",
    "Storage",
]


class AppendSession(Protocol):
    """A connection for appends. Used by one thread at a time; reconnects by itself."""

    @property
    def connected(self) -> bool:
        """Whether an append would be sent at once."""

    def connect(self, deadline: float) -> None:
        """Connect, so that the next append is sent at once.

        Raises:
            StorageUnavailableError: There is no connection.
            StorageError: The server is refused.
        """

    def append(self, appends: Sequence[Append], deadline: float) -> list[Outcome]:
        """Store several appends in one commit. Each is atomic and independent of the others.

        Streams and event ids must be distinct over all of *appends*.

        Returns:
            One outcome per append, in order.

        Raises:
            StorageUnavailableError: Nothing was written.
            OutcomeUnknownError: The connection was lost, or the deadline passed, after sending.
            StorageError: The database refused the statement; nothing was written. One append may
                be the cause: try them one by one.
        """

    def announce(self, wait: float) -> None:
        """Notify all listeners, after a commit. Never raises.

        For a runtime without an announcing thread; see `AnnounceSession`.

        Args:
            wait: Longest wait in seconds for the lock of other notifying commits.
        """

    def close(self) -> None:
        """Close the connection. Idempotent."""


class KeeperSession(Protocol):
    """A connection that renews the leases and stores the checkpoints of a runtime.

    Used by one thread; reconnects by itself.
    """

    def keep(self, progress: Sequence[Progress], lease: float, deadline: float) -> list[Kept]:
        """Renew the leases and store the checkpoints, in one statement that waits for no lock.

        Returns:
            One `Kept` per fence, in the order of *progress*. A lease that another transaction has
            locked was not renewed and is left out; the others were renewed.
        """

    def release(self, progress: Sequence[Progress], deadline: float) -> Collection[Fence]:
        """Store the last checkpoints and end the ownership, so that a standby goes on at once.

        In one statement that waits for no row. A fence that no longer matches is ignored.

        Returns:
            The fences whose position somebody else has locked: they are not released, try again.
        """

    def look(self, position_ids: Sequence[int], deadline: float) -> dict[int, Standing]:
        """Read the rows of these positions, without locking or writing anything.

        Returns:
            The rows by position id. A position whose subscription was deleted is missing.
        """

    def close(self) -> None: ...


class Announced(Enum):
    """Result of an announcement."""

    SENT = "sent"
    UNHEARD = "unheard"
    """No other session listens to the events of the store, so nothing was sent."""
    LOST = "lost"


class AnnounceSession(Protocol):
    """A connection that notifies other processes. Used by one thread; reconnects by itself."""

    def announce(
        self, *, events: bool, subscriptions: Collection[int], deadline: float
    ) -> Announced:
        """Notify all listeners. Never raises.

        Args:
            events: Whether new events were committed.
            subscriptions: Ids of the subscriptions that changed.
            deadline: When to give up.

        Returns:
            Whether it was sent. After a lost one, other processes learn of the change by polling.
        """

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Heard:
    """State of the store, as a listener read it after a notification or a timeout."""

    head: int
    """Newest global position that was ever assigned."""
    reconnected: bool
    """The connection is new: earlier announcements may have been missed."""
    touched: frozenset[int] = frozenset()
    """Ids of subscriptions that were released, paused, resumed, reset or deleted somewhere."""
    deaf: bool = False
    """Whether announcements arrive is not proved, or they do not, for instance through a pooler.
    New events are found by polling."""
    newest: UUID | None = None
    """Id of the event at the head; None if it was deleted or the store is empty."""
    deletion_no: int = 0
    """Number of the newest deletion. If it grew, drop the events held in memory."""
    holds: bool = True
    """The event that was asked for is still at its position, or was deleted there. False: the
    database was set back in time."""


KnownEvent = tuple[int, UUID]
"""Global position and id of an event."""


class HeadListener(Protocol):
    """Learns of new events. Used by one thread, woken from any.

    It reads as every other part of the storage does. Where announcements come from is another
    matter: they are hints to look, and it looks without them, too.
    """

    def wait(
        self, timeout: float, *, prompt: bool = True, known: KnownEvent | None = None
    ) -> Heard:
        """Block until something was announced, `wake` was called or *timeout* seconds passed.

        Reconnects if the connection is lost. An announcement is only a hint to look: the head is
        read from the storage before this returns, in every case. So a lost announcement costs a
        delay and never an event, and a forged one costs a read.

        Args:
            timeout: Seconds.
            prompt: Whether to listen. False: nobody is in a hurry, so new events are noticed only
                after *timeout*. The first prompt call after such a call returns at once, as after
                a reconnect.
            known: An event that was at its position before; see `Heard.holds`.

        Raises:
            StorageUnavailableError: The head could not be read. Call again.
        """

    def read_all(
        self, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        """Do `Storage.read_after` of ``$all``, over the listener's own connection if possible."""

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
        """Check that the storage can be reached and has the right schema.

        Args:
            init: Install or migrate the schema if needed.
            deadline: When to give up.

        Raises:
            SchemaVersionError: The schema is missing, too old or too new.
            StorageError: The server is refused, for instance because it runs without fsync, or it
                does not let us in. Of a storage that was open, the second is waited out.
        """

    def close(self) -> None:
        """Close every connection. Idempotent."""

    def supervise(self, crashed: Callable[[str, BaseException], object]) -> None:
        """Have the crashes of the storage's own threads reported; they go on by themselves.

        Args:
            crashed: Called in the thread that crashed, with its name and its exception.
        """

    def check_threads(self) -> None:
        """Replace its threads that are dead, and report them as crashed. Never blocks."""

    def overdue(self) -> float:
        """Return for how many seconds one of its threads has not done what is due; 0: none is late.

        Never blocks.
        """

    def append_session(self) -> AppendSession: ...

    def keeper_session(self) -> KeeperSession: ...

    def head_listener(self) -> HeadListener: ...

    def announce_session(self) -> AnnounceSession: ...

    def read_stream(
        self,
        stream_id: str,
        start: int,
        count: int,
        direction: ReadDirection,
        deadline: float,
        max_bytes: int | None = None,
    ) -> list[StoredEvent]:
        """Read at most *count* events of a stream from version *start* on, inclusive.

        Backward, a *start* beyond the end is the end. The event with which the events have
        *max_bytes* bytes or more is the last one; None: there is no such limit.

        Raises:
            StreamNotFoundError, StreamDeletedError: There is nothing to read from.
        """

    def read_all(
        self,
        start: int,
        count: int,
        direction: ReadDirection,
        deadline: float,
        max_bytes: int | None = None,
    ) -> list[StoredEvent]:
        """Read at most *count* events of all streams from global position *start* on.

        *max_bytes* is that of `read_stream`.
        """

    def read_after(
        self, stream_id: str, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        """Read the next events of a subscription: at most *count* after position *after*.

        A missing stream counts as empty. The events have at most *max_bytes* together, but the
        first one is read whatever its size.
        """

    def stream_info(self, stream_id: str, deadline: float) -> StreamInfo:
        """Return the state of a stream, or of the store for ``$all``.

        Raises:
            StreamNotFoundError: It does not exist. A deleted stream is described, not refused.
        """

    def streams(
        self, listing: StreamListing, after: str | None, count: int, deadline: float
    ) -> list[StreamInfo]:
        """Return at most *count* streams, also deleted ones.

        Starts after the stream *after* in the order of *listing*; None: with the first one.

        Raises:
            StreamNotFoundError: In the order of creation, *after* is gone, and so is its place.
        """

    def find_event(self, event_id: UUID, deadline: float) -> StoredEvent | None:
        """Return the event with this id, as it is in ``$all``; None if there is none."""

    def stream_count(self, deadline: float) -> int:
        """Return the number of streams that are not deleted."""

    def history_holds(self, global_position: int, event_id: UUID, deadline: float) -> bool:
        """Return whether the event at *global_position* still is *event_id*.

        Also True if the position was deleted. False: the database was set back in time.
        """

    def claim(self, claim: Claim, deadline: float) -> Claimed | Held:
        """Take over a subscription if it is free.

        It is free if it was released, if its lease expired by the storage's clock, or if its mark
        is still the one that the claimant watched.

        Raises:
            SubscriptionNotFoundError: *claim* is by id, and that subscription was deleted.
            ValueError: It would be created, and its start is beyond the head.
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
        """Pause or resume a subscription, wherever it runs, and announce the change.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """

    def reset_subscription(
        self, stream_id: str, subscription_name: str, position: int, deadline: float
    ) -> None:
        """Set the checkpoint, fence the owner, and announce the change.

        Raises:
            SubscriptionNotFoundError: It does not exist.
            ValueError: *position* is beyond the head of what is subscribed to.
        """

    def delete_subscription(self, stream_id: str, subscription_name: str, deadline: float) -> None:
        """Delete a subscription, fence its owner, and announce the change.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """
