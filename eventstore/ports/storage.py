"""The port to whatever holds the events: what a storage must do, and the values that cross it.

Payloads cross as bytes; nothing here knows JSON, threads of a runtime, or a driver. Deadlines are
moments of `time.monotonic`. Every method raises `StorageUnavailableError` when the storage cannot
be reached before its deadline, and never blocks longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from operator import attrgetter
from typing import Protocol
from uuid import UUID

import msgspec

from eventstore.model.errors import EventStoreError
from eventstore.model.events import AppendResult, StreamInfo
from eventstore.model.subscription import Start, SubscriptionInfo, SubscriptionState

__all__ = [
    "AppendSession",
    "Claimed",
    "Committed",
    "EncodedEvent",
    "Fence",
    "HeadListener",
    "Heard",
    "Held",
    "KeeperSession",
    "Kept",
    "LeaseMark",
    "Outcome",
    "Progress",
    "Refusal",
    "Storage",
    "StoredEvent",
    "StreamAppend",
    "payload_bytes",
]


class EncodedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event on its way in, its payloads serialized."""

    event_id: UUID
    event_type: str
    data: bytes
    metadata: bytes | None = None
    causation_id: UUID | None = None
    correlation_id: UUID | None = None
    created_at: datetime | None = None


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as it is stored, its payloads serialized."""

    position: int
    """Its place in what it was read from."""
    global_position: int
    stream_id: str
    stream_version: int
    event_id: UUID
    event_type: str
    data: bytes
    metadata: bytes | None
    causation_id: UUID | None
    correlation_id: UUID | None
    created_at: datetime

    @property
    def size(self) -> int:
        """Bytes of data and metadata."""
        return len(self.data) + (len(self.metadata) if self.metadata is not None else 0)


def payload_bytes(events: Sequence[EncodedEvent] | Sequence[StoredEvent]) -> int:
    """Return the bytes of data and metadata of all *events*."""
    return sum(map(len, map(_data, events))) + sum(map(len, filter(None, map(_metadata, events))))


_data = attrgetter("data")
_metadata = attrgetter("metadata")


class StreamAppend(msgspec.Struct, frozen=True):
    """One stream's part of an append; without events the stream is only checked."""

    stream_id: str
    expected_version: int
    """A version, or the value of an `ExpectedVersion`."""
    events: tuple[EncodedEvent, ...]


Append = tuple[StreamAppend, ...]
"""An append: its streams are distinct, and it stands or falls as a whole."""


class Committed(msgspec.Struct, frozen=True):
    """An append that is stored, durably."""

    results: tuple[AppendResult, ...]
    """One per stream of the append, in its order."""
    created_at: datetime
    """The database's time of the commit: what events without an override carry."""
    repeated: bool
    """The same append was stored before; nothing was written now."""


Refusal = EventStoreError
"""Why an append was refused: wrong version, duplicate id, stream deleted. Returned, not raised."""

Outcome = Committed | Refusal


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

    def close(self) -> None:
        """Give up the connection. Harmless when repeated."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Who may checkpoint: all three must match the row."""

    subscription_id: int
    owner: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class LeaseMark:
    """What a standby watches: a row whose mark does not change for a lease has a dead owner."""

    owner: UUID
    epoch: int
    renewed_at: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """The subscription is ours."""

    fence: Fence
    checkpoint: int
    head: int
    """Newest position of what is subscribed to."""
    paused: bool
    created: bool
    """The subscription did not exist before, so its start was fixed by this claim."""


@dataclass(frozen=True, slots=True)
class Held:
    """The subscription belongs to somebody else."""

    owner_name: str
    """Host and process of the owner, for people."""
    since: datetime
    mark: LeaseMark


@dataclass(frozen=True, slots=True)
class Progress:
    """What a runtime knows of a subscription it owns."""

    fence: Fence
    checkpoint: int
    """Everything up to it is acknowledged; stored if it is beyond the stored one."""
    state: SubscriptionState
    last_error: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What the row says after a renewal."""

    fence: Fence
    owned: bool
    """False: the fence no longer matches; somebody else took over, or the row is gone."""
    checkpoint: int
    """The stored one; 0 if the row is gone."""
    paused: bool


class KeeperSession(Protocol):
    """One connection that renews leases and writes checkpoints, for all of a runtime.

    Used by one thread; connects again by itself.
    """

    def keep(self, progress: Sequence[Progress], lease: float, deadline: float) -> list[Kept]:
        """Renew the leases and store the checkpoints, in one ordered statement.

        Returns:
            One `Kept` per fence, in the order of *progress*. Left out is a row that somebody else
            has locked: it was not renewed, and must not cost the others their lease.
        """

    def release(self, progress: Sequence[Progress], deadline: float) -> None:
        """Store the last checkpoints and end the ownership, so that a standby goes on at once.

        A fence that no longer matches is ignored.
        """

    def paused(self, subscription_ids: Sequence[int], deadline: float) -> dict[int, bool]:
        """Return which of the subscriptions are paused; those that are gone are left out."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Heard:
    """What woke a listener."""

    head: int
    """Newest global position of the store, or the floor that deleted events left."""
    touched: bool
    """A subscription was released, paused, resumed, reset or deleted somewhere."""
    reconnected: bool
    """The connection is new: what was announced before may have been missed."""
    deaf: bool = False
    """Announcements do not arrive, through a pooler for instance: what is new is looked for."""
    newest: UUID | None = None
    """The event at the head, where that was looked for; None if it was announced, or deleted."""


class HeadListener(Protocol):
    """One connection that learns of new events. Used by one thread, woken from any."""

    def wait(self, timeout: float, *, prompt: bool = True) -> Heard:
        """Block until something was announced, `wake` was called or *timeout* seconds passed.

        A lost connection is made anew. The head is read from the storage on every (re)connect and
        at every timeout, so a lost announcement costs a delay and never an event. A head that is
        announced though it is not above the one before is told by itself: history may have gone
        back.

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

    def claim(
        self,
        stream_id: str,
        subscription_name: str,
        *,
        start: Start,
        owner: UUID,
        owner_name: str,
        lease: float,
        watched: LeaseMark | None,
        deadline: float,
    ) -> Claimed | Held:
        """Find or create a subscription and take it over if nobody holds it.

        It is free if it was released, if its lease ran out by the storage's clock, or if its mark
        is still *watched*: the caller has seen it unchanged for a lease by its own clock.
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
        """Pause or resume a subscription, wherever it runs.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """

    def reset_subscription(
        self, stream_id: str, subscription_name: str, position: int, deadline: float
    ) -> None:
        """Set the checkpoint and fence the present owner.

        Raises:
            SubscriptionNotFoundError: It does not exist.
            ValueError: *position* is beyond the head of what is subscribed to.
        """

    def delete_subscription(self, stream_id: str, subscription_name: str, deadline: float) -> None:
        """Forget a subscription and fence its owner.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """
