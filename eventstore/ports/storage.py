"""The port to a storage of events: its methods, and the values that they take and return.

Payloads are bytes; nothing here knows JSON, the threads of a runtime, or a driver. Deadlines are
moments of `time.monotonic`. A method with a deadline raises `StorageUnavailableError` if it cannot
reach the storage before its deadline, and never blocks longer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol
from uuid import UUID

from eventstore.model.config import Config
from eventstore.model.event_filter import EventFilter
from eventstore.model.events import LinkResult, StreamInfo
from eventstore.model.stream_listing import StreamListing
from eventstore.model.subscription_info import SubscriptionInfo
from eventstore.ports.announcing import AnnounceSession
from eventstore.ports.caller_transactions import JoinsTransactions
from eventstore.ports.changes import Deletion, Link
from eventstore.ports.effects import Effects
from eventstore.ports.listening import HeadListener
from eventstore.ports.ownership import (
    Claim,
    Claimed,
    Fence,
    Held,
    Kept,
    Progress,
    Standing,
    StoredProgress,
)
from eventstore.ports.parking import Dropped, ParksEvents
from eventstore.ports.projections import Projects
from eventstore.ports.reads import Examined, ReadDirection
from eventstore.ports.stored_events import Append, Outcome, StoredEvent
from eventstore.ports.stored_snapshots import SnapshotStorage

__all__ = ["AppendSession", "KeeperSession", "Storage"]


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

    def erase(self, deadline: float) -> bool:
        """Erase some events and links of streams that were deleted for good.

        It takes a moment. What another process erases is passed over.

        Returns:
            Whether more may be left.
        """

    def look(self, position_ids: Sequence[int], deadline: float) -> dict[int, Standing]:
        """Read the rows of these positions, without locking or writing anything.

        Returns:
            The rows by position id. A position whose subscription was deleted is missing.
        """

    def close(self) -> None: ...


class Storage(SnapshotStorage, JoinsTransactions, Effects, ParksEvents, Projects, Protocol):
    """Where events, snapshots and subscriptions live. Any thread may call every method."""

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

    def beside(self, config: Config) -> Storage:
        """Return the storage of another schema of the same database, not opened yet.

        It shares the connections of this one, and lives on when this one is closed first.

        Args:
            config: The settings of this one, with another schema, and possibly other types.

        Raises:
            StorageUnavailableError: This one is closed.
        """

    def close(self) -> None:
        """Close every connection that no other storage shares. Idempotent."""

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

    def read_matching(
        self,
        stream_id: str,
        start: int,
        count: int,
        direction: ReadDirection,
        event_filter: EventFilter,
        deadline: float,
        max_bytes: int | None = None,
    ) -> Examined:
        """Look at the events of a stream, or of ``$all``, from *start* on; return those that match.

        At a bounded number of positions, up to the head, all seen at one moment. The page ends
        before the *count* or *max_bytes* is exceeded, but the first event is read whatever its
        size.

        Raises:
            StreamNotFoundError, StreamDeletedError: There is nothing to read from.
        """

    def read_matching_after(
        self,
        stream_id: str,
        after: int,
        count: int,
        max_bytes: int,
        event_filter: EventFilter,
        deadline: float,
    ) -> Examined:
        """Look at the next events of a subscription, as `read_matching` does.

        A missing stream counts as empty: nothing was looked at.
        """

    def end_after(self, stream_id: str, after: int, deadline: float) -> int:
        """Return the newest position ever given out if nothing is to be read after *after*.

        What is between them was deleted. Else, or if there is no such stream, return *after*.
        Both are seen at one moment, so that nothing that is committed meanwhile is passed.
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

    def link(self, link: Link, deadline: float) -> LinkResult:
        """Link events to a stream, all or none, and announce it.

        Events that are linked already, all of them in this order, are the first result.

        Raises:
            EventNotFoundError: An event does not exist.
            DuplicateEventError: An event is in the stream already.
            WrongExpectedVersionError, StreamDeletedError: The stream is not as expected.
            OutcomeUnknownError: The link may be stored.
        """

    def delete_stream(self, deletion: Deletion, deadline: float) -> None:
        """Delete a stream, announce it, and erase what is to be erased.

        The stream is deleted at once. Erasing its events may take longer than until *deadline*; if
        it fails or ends early, `KeeperSession.erase` goes on.

        Raises:
            StreamNotFoundError, StreamDeletedError, WrongExpectedVersionError: The stream is not as
                expected.
            OutcomeUnknownError: It may be deleted.
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

    def stored_progress(
        self, stream_id: str, subscription_name: str, deadline: float
    ) -> StoredProgress:
        """Return how far a subscription is; nothing is counted, so it may be asked often.

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
    ) -> Dropped:
        """Set the checkpoint, fence the owner, and announce the change.

        Drops what is parked after *position*.

        Raises:
            SubscriptionNotFoundError: It does not exist.
            ValueError: *position* is beyond the head of what is subscribed to.
        """

    def delete_subscription(
        self, stream_id: str, subscription_name: str, deadline: float, *, drop_parked: bool = False
    ) -> Dropped:
        """Delete a subscription, fence its owner, and announce the change.

        Raises:
            SubscriptionError: Events are parked, and *drop_parked* is False.
            SubscriptionNotFoundError: It does not exist.
        """
