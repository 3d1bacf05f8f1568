"""The facade: the public API of a store. It checks arguments and delegates."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar, Unpack
from uuid import UUID

from eventstore.client import lifetime
from eventstore.client.appending import (
    check_iterable,
    first_results,
    prepare_one,
    prepare_several,
)
from eventstore.client.awaiting import newest_position, wait_for_checkpoint
from eventstore.client.choosing import choice_of
from eventstore.client.codec import Codec, as_stored_bytes
from eventstore.client.dropping import deleted, reset_to
from eventstore.client.filtering import Filtering
from eventstore.client.following import Follower, Followers, FollowSettings
from eventstore.client.joining import Joins
from eventstore.client.linking import prepare_link
from eventstore.client.paging import (
    FROM_END,
    PAGE,
    PAGE_BYTES,
    Decode,
    Page,
    Pages,
    check_count,
    check_position,
    check_start,
    iterated,
    listed,
    unfiltered,
)
from eventstore.client.processing import check_processed, process_append, process_link
from eventstore.client.projecting import Projecting
from eventstore.client.runs import runs
from eventstore.client.schemas import Schemas
from eventstore.client.series import EncodedItem, append_blocking, encoded_items
from eventstore.client.snapshotting import Snapshots
from eventstore.client.targets import installs, registered_runtime
from eventstore.model.answers import check_reason
from eventstore.model.awaited import Awaited, last_of, positions_in
from eventstore.model.checks import check_bool, check_int, check_patience, check_timeout, check_uuid
from eventstore.model.config import Config
from eventstore.model.errors import NotRunningError, StreamNotFoundError
from eventstore.model.event_filter import EventFilter, FilterKeywords, documents_filter
from eventstore.model.events import (
    AppendResult,
    EventData,
    LinkResult,
    RecordedEvent,
    StreamInfo,
    check_expected_version,
)
from eventstore.model.names import ALL_STREAMS, check_name, check_stream_id, check_subscribable
from eventstore.model.parked import ParkedEvent
from eventstore.model.projection import Projection, ProjectionInfo
from eventstore.model.serializer import Types
from eventstore.model.snapshots import Snapshot, SnapshotData
from eventstore.model.stream_listing import StreamListing
from eventstore.model.subscriber_messages import Events, Receiver
from eventstore.model.subscription import (
    Subscription,
    SubscriptionKeywords,
    SubscriptionOptions,
    documents_options,
)
from eventstore.model.subscription_info import SubscriptionInfo
from eventstore.model.subscription_start import Origin, parse_start
from eventstore.ports.changes import Deletion, Link
from eventstore.ports.reads import Examined, ReadDirection
from eventstore.ports.runtime import Health, RunningSubscription, Runtime
from eventstore.ports.storage import Storage
from eventstore.ports.stored_events import Append, StoredOtherwiseError
from eventstore.ports.waits import BLOCKING, Waits, run_blocking

__all__ = ["EventStore"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_FORWARD = ReadDirection.FORWARD
_BACKWARD = ReadDirection.BACKWARD


class EventStore:
    """An event store: append events to streams, read them, subscribe to them.

    Get one from `connect`, or from `attach` to a supervisor of your own. Close it, or use it in a
    ``with`` statement. Every method may be called from any thread, and by a subscriber.
    """

    def __init__(self, runtime: Runtime, schemas: Schemas[EventStore] | None = None) -> None:
        self._runtime = runtime
        self._codec = Codec(runtime.config.serializer, runtime.config.types)
        self._pid, self._forks = os.getpid(), lifetime.forks()
        self._closed = threading.Event()
        self._followers = Followers()
        self._joins = Joins()
        self._projecting = Projecting(self._running, BLOCKING)
        self._schemas = schemas or Schemas[EventStore](self, runtime)
        if schemas is None:
            # It closes those of other schemas.
            lifetime.remember(self)

    # ── opening and closing ──────────────────────────────────────────────────────────────────

    @classmethod
    def connect(
        cls,
        target: str | Config,
        *,
        runtime: type[Runtime] | None = None,
        init: bool | None = None,
        pool: object | None = None,
    ) -> Self:
        """Connect to a store and start its runtime.

        Args:
            target: A libpq connection string or URL, ``embedded:PATH``, ``memory:``, or a
                `Config`.
            runtime: The class that runs the store; the installed actors unless given.
                `CallerRuntime` has no actors: it appends and reads only, in the caller's thread.
            init: Install or migrate the schema, under a lock, and create the folder and server of
                ``embedded:``. False: create nothing, also if the path is mistyped. Defaults to
                True for ``embedded:`` and ``memory:``, else to False.
            pool: A `psycopg_pool.ConnectionPool` of the service, open, to the same database; reads
                and catch-ups go over it, and `close` leaves it open. Defaults to one of the
                store's own.

        Raises:
            StorageUnavailableError: The database cannot be reached within `connect_timeout`.
            TypeError: *pool* is something else.
            SchemaVersionError: The schema is missing or of another version, or the embedded server
                is missing.
            StorageError: The server is refused: it would lose commits, or is too old. Or it does
                not let us in: a wrong password, a missing database or right. Or *pool* leads to
                another store, to a standby, or does not speak UTF-8.
        """
        config = target if isinstance(target, Config) else Config(target)
        chosen = runtime or registered_runtime()
        running = chosen.start(config, init=installs(config, init), pool=pool)
        try:
            return cls(running)
        except BaseException:
            running.close(config.stop_timeout)
            raise

    @classmethod
    def attach(
        cls, supervisor: Any, *, timeout: float = 10.0, runtime: type[Runtime] | None = None
    ) -> Self:
        """Use the store of a supervisor that the application started; `close` only detaches.

        Raises:
            EventStoreError: The supervisor is not up within *timeout* seconds; the error says why.
        """
        return cls((runtime or registered_runtime()).attach(supervisor, timeout))

    def for_schema(
        self, name: str, *, init: bool = False, types: Types | None = None
    ) -> EventStore:
        """Open the store in another schema of the same database, beside this one.

        The stores share their connections: many need hardly more than one. Each has events,
        subscriptions and health of its own. Closing one leaves the others open; closing the first
        one, which was connected or attached to, closes all.

        Args:
            name: The schema, 1 to 56 bytes. The other settings are those of the first store.
            init: Install or migrate the schema, under a lock. Defaults to False.
            types: Its payload classes, as in `Config`. Defaults to those of the first store.

        Returns:
            The same object for the same name, until it is closed.

        Raises:
            ValueError: It is open with other types.
            StorageUnavailableError: The database cannot be reached within `connect_timeout`.
            SchemaVersionError: The schema is missing or of another version.
        """
        self._running()
        init = check_bool("init", init)
        made = partial(EventStore, schemas=self._schemas)
        return self._schemas.store(name, types, made, init=init)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed.is_set() else "open"
        return f"<EventStore {self.config!r} {state}>"

    @property
    def config(self) -> Config:
        """The settings of this store."""
        return self._runtime.config

    @property
    def dsn(self) -> str:
        """The libpq connection string in use, also for ``embedded:``. It contains the password."""
        return self._runtime.storage.dsn

    def health(self) -> Health:
        """Return the health of every part. Never waits for the database."""
        return self._call(self._running().health)

    def close(self, timeout: float | None = None) -> None:
        """Stop delivery, wait for outstanding acknowledgements, end every append, release all.

        Idempotent; a handler may call it. Of several calls, the one that allows the least time
        counts. In a forked child it leaves the parent's connections alone.

        Args:
            timeout: Most seconds to take. Defaults to `Config.stop_timeout`.
        """
        lifetime.forget(self)
        self._followers.close()
        if self._forks != lifetime.forks():
            self._runtime.abandon()
            self._closed.set()
            return
        allowed = self.config.stop_timeout if timeout is None else timeout
        with self._schemas.closing(self, time.monotonic() + allowed):
            try:
                self._runtime.close(allowed)
            finally:
                # Not earlier: the handlers that close waits for may append.
                self._closed.set()

    def join(self, timeout: float | None = None, *, any: bool = False) -> None:  # noqa: A002
        """Block until the store is closed, by any thread or by SIGTERM or SIGINT.

        The signals are handled only during this call, and only in the main thread. A second signal
        interrupts the close, and an orderly end is not waited for any longer.

        Args:
            timeout: Most seconds to wait; None: no limit. Defaults to None.
            any: Return at the first subscription that gave up, not only when none is left that
                runs. Defaults to False.

        Raises:
            EventStoreError: The runtime failed, or its subscriptions gave up; the message says why.
            TimeoutError: The store still runs after *timeout* seconds.
        """
        wait = partial(self._own_runtime().wait_stopped, any_subscription=any)
        if not lifetime.join(self, wait, timeout):
            raise TimeoutError(f"the store still runs after {timeout} s")

    # ── appending ────────────────────────────────────────────────────────────────────────────

    def append_to_stream(
        self,
        stream_id: str,
        expected_version: int,
        events: Iterable[EventData],
        *,
        timeout: float | None = None,
        connection: object | None = None,
        processed: Events | None = None,
    ) -> AppendResult:
        """Append events to a stream, all or none.

        Until the deadline, an append whose connection is lost is sent again with the same event
        ids.

        Args:
            stream_id: 1 to 1,000 bytes of UTF-8, not starting with ``$``.
            expected_version: Version that the stream must be at, 0 if it must not exist, or an
                `ExpectedVersion`.
            events: Read once. Appending them again, with the same ids, types and data, returns the
                first result, with `repeated` set. Metadata and times may differ.
            timeout: Seconds until the deadline. Defaults to `Config.append_timeout`.
            connection: Append in the transaction that is open on this connection of yours. One of
                psycopg or, over psycopg, a cursor of Django, a Session or Connection of SQLAlchemy.
                The result is true once you have committed. Until then every other append waits, so
                append last. Defaults to None: the store commits.
            processed: The batch that a function of a subscription of this store got. Its checkpoint
                and the events are stored together, or neither. Defaults to None.

        Returns:
            Where the events are stored: versions in the stream, positions in the store.

        Raises:
            WrongExpectedVersionError: Re-read the stream and decide again.
            DuplicateEventError: An event id is already used: by another append, or for another
                type or other data.
            StreamDeletedError: The stream was deleted.
            SerializationError: An event cannot be serialized, or not be read again.
            TooManyAppendsError, StorageUnavailableError: Nothing was written; try again later.
            OutcomeUnknownError: The append may be stored; repeat it with the same event ids.
            TypeError, ValueError: *connection* cannot be used; nothing was sent to write. Its
                transaction goes on, as after `WrongExpectedVersionError`, `DuplicateEventError` and
                `StreamDeletedError`. After `StorageError` it is aborted.
            SubscriptionLostError: *processed* belongs to another owner, or was handled before;
                nothing was written. Let the error through.
            AppendError: Without *connection*, in a thread whose own such transaction is open.
        """
        append = self._prepare(prepare_one, stream_id, expected_version, events)
        [result] = self._append(append, timeout, connection, processed)
        return result

    def append_to_streams(
        self,
        appends: Iterable[tuple[str, int, Iterable[EventData]]],
        *,
        timeout: float | None = None,
        connection: object | None = None,
        processed: Events | None = None,
    ) -> list[AppendResult]:
        """Append to several streams, all or none.

        Args:
            appends: One (stream_id, expected_version, events) per stream. A stream without events
                is only checked; if every stream is only checked, nothing is written.
            timeout: Seconds until the deadline. Defaults to `Config.append_timeout`.
            connection: As for `append_to_stream`.
            processed: As for `append_to_stream`. Without *appends* its checkpoint alone is stored.

        Returns:
            One result per stream, in the order of *appends*.

        Raises:
            ValueError: A stream occurs twice.
            EventStoreError: As for `append_to_stream`.
        """
        may_be_empty = processed is not None
        append = self._prepare(prepare_several, appends, may_be_empty=may_be_empty)
        results = self._append(append, timeout, connection, processed)
        return list(results)

    def append_many(self, items: Iterable[tuple[str, EventData]], *, batch_size: int = PAGE) -> int:
        """Append a long series of events in its order, whatever the versions, in many commits.

        Each commit is atomic, the series is not; the next events are prepared while those before
        them are stored. To go on after an error, append the same series with the same ids and
        *batch_size* again: what is stored is not stored twice. Events that change between streams
        one by one share no commit, as a commit keeps each stream together.

        Args:
            items: Pairs of a stream id and an event. Read once, as they are needed.
            batch_size: Most events of a commit, 1 to 10,000; a commit of more than one has at most
                4 MiB. Defaults to 1,000.

        Returns:
            The number of events, those that were stored before included.

        Raises:
            EventStoreError: As for `append_to_stream`. In every error, also one of *items*,
                `stored` is how many events of the series surely are stored.
        """
        batch_size = check_count("batch_size", batch_size)
        self._running()
        return self._append_series(check_iterable("items", items), batch_size)

    def wake(self) -> None:
        """Look for new events now, here and in other processes: for a hook after your commit.

        A runtime with actors finds out by itself that a transaction given by *connection* has
        committed; other runtimes rely on `Config.poll_interval`.
        """
        self._call(self._running().wake)

    # ── linking and deleting ─────────────────────────────────────────────────────────────────

    def link_to_stream(
        self,
        stream_id: str,
        expected_version: int,
        events: Iterable[RecordedEvent | UUID],
        *,
        timeout: float | None = None,
        connection: object | None = None,
        processed: Events | None = None,
    ) -> LinkResult:
        """Let stored events appear in another stream too, all or none.

        A linked event keeps its stream, its version and its place in ``$all``. In the linked stream
        it takes the next version, as its `position`; own events may stand between linked ones.

        Args:
            stream_id: 1 to 1,000 bytes of UTF-8, not starting with ``$``.
            expected_version: Version that the stream must be at, 0 if it must not exist, or an
                `ExpectedVersion`.
            events: Events that were read, or their ids; 1 to 10,000, read once. Linking them again,
                in the same order, returns the first result, with `repeated` set.
            timeout: Seconds until the deadline. Defaults to `Config.append_timeout`.
            connection: As for `append_to_stream`.
            processed: As for `append_to_stream`.

        Raises:
            EventNotFoundError: An event does not exist.
            DuplicateEventError: An event is in the stream already.
            WrongExpectedVersionError: Re-read the stream and decide again.
            StreamDeletedError: The stream was deleted.
            StorageUnavailableError: No answer in time; safe to repeat.
            OutcomeUnknownError: The link may be stored; repeat it.
        """
        link = prepare_link(stream_id, expected_version, events)
        return self._link(link, timeout, connection, processed)

    def delete_stream(
        self,
        stream_id: str,
        expected_version: int,
        *,
        hard: bool = False,
        timeout: float | None = None,
        connection: object | None = None,
    ) -> None:
        """Delete a stream: it can be neither read nor appended to, and its name stays in use.

        Its events stay in ``$all`` and in the streams that they are linked to, and subscriptions to
        it still deliver them.

        Args:
            stream_id: The stream to delete.
            expected_version: Version that it must be at, or an `ExpectedVersion`.
            hard: Delete the events, too, and every link to them. The stream is gone at once, and
                its name is free; subscriptions to it start over with the next stream of that name.
                The call returns when everything is erased, which takes a minute per million
                events. Needs `Config.enable_hard_deletes`. Defaults to False.
            timeout: Seconds until the deadline, for the stream to be gone. Defaults to
                `Config.append_timeout`.
            connection: As for `append_to_stream`. Events of a hard delete are then erased after
                your commit, by any process with actors.

        Raises:
            ValueError: *hard* is not enabled.
            StreamNotFoundError: It does not exist.
            StreamDeletedError: It was deleted before.
            WrongExpectedVersionError: Re-read the stream and decide again.
            StorageUnavailableError: No answer in time; safe to repeat.
            OutcomeUnknownError: It may be deleted; repeat it.
        """
        stream_id = check_stream_id(stream_id)
        expected_version = check_expected_version(expected_version)
        if check_bool("hard", hard) and not self.config.enable_hard_deletes:
            raise ValueError("hard deletes need Config(enable_hard_deletes=True)")
        self._delete(Deletion(stream_id, expected_version, hard), timeout, connection)

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    @documents_filter
    def read_stream_forward(
        self,
        stream_id: str,
        start_version: int = 1,
        count: int | None = None,
        *,
        missing_ok: bool = False,
        raw: bool = False,
        **only: Unpack[FilterKeywords],
    ) -> list[RecordedEvent]:
        """Read events of a stream, oldest first.

        Args:
            stream_id: The stream to read.
            start_version: First version to read, inclusive, 1-based. Defaults to 1.
            count: Most events to return; None: all of them, read in pages. Defaults to None.
            missing_ok: Return no events for a stream that does not exist. Defaults to False.
            raw: Return `data` and `metadata` as the bytes that are stored. Defaults to False.

        Returns:
            0 to *count* events by ascending version.

        Raises:
            StreamNotFoundError: The stream does not exist, and *missing_ok* is False.
            StreamDeletedError: The stream was deleted.
            SerializationError: An event cannot be read as its type; it can be with *raw*.
            StorageUnavailableError: No answer in time; safe to retry.
        """
        stream_id = check_stream_id(stream_id)
        return self._read(
            stream_id, start_version, count, _FORWARD, only, raw=raw, missing_ok=missing_ok
        )

    @documents_filter
    def read_stream_backward(
        self,
        stream_id: str,
        start_version: int = FROM_END,
        count: int | None = None,
        *,
        missing_ok: bool = False,
        raw: bool = False,
        **only: Unpack[FilterKeywords],
    ) -> list[RecordedEvent]:
        """Read events of a stream, newest first.

        Args:
            stream_id: The stream to read.
            start_version: First version to read, inclusive; -1: the newest. Defaults to -1.
            count: Most events to return; None: all of them, read in pages. Defaults to None.
            missing_ok: Return no events for a stream that does not exist. Defaults to False.
            raw: Return `data` and `metadata` as the bytes that are stored. Defaults to False.

        Returns:
            0 to *count* events by descending version.

        Raises:
            StreamNotFoundError: The stream does not exist, and *missing_ok* is False.
            StreamDeletedError: The stream was deleted.
            SerializationError: An event cannot be read as its type; it can be with *raw*.
            StorageUnavailableError: No answer in time; safe to retry.
        """
        stream_id = check_stream_id(stream_id)
        return self._read(
            stream_id, start_version, count, _BACKWARD, only, raw=raw, missing_ok=missing_ok
        )

    @documents_filter
    def read_all_streams_forward(
        self,
        start_position: int = 1,
        count: int | None = PAGE,
        *,
        raw: bool = False,
        **only: Unpack[FilterKeywords],
    ) -> list[RecordedEvent]:
        """Read events of every stream, in commit order.

        A reader that has seen position n has seen every position before it.

        Args:
            start_position: First global position to read, inclusive, 1-based. Defaults to 1.
            count: Most events to return; None: all of them, read in pages. Defaults to 1,000.
            raw: Return `data` and `metadata` as the bytes that are stored. Defaults to False.

        Returns:
            0 to *count* events by ascending global position. Fewer than *count*: the end was
            reached.

        Raises:
            ValueError: *start_position* or *count* is out of range.
            SerializationError: An event cannot be read as its type; it can be with *raw*.
            StorageUnavailableError: No answer in time; safe to retry.
        """
        return self._read(ALL_STREAMS, start_position, count, _FORWARD, only, raw=raw)

    @documents_filter
    def read_all_streams_backward(
        self,
        start_position: int = FROM_END,
        count: int | None = PAGE,
        *,
        raw: bool = False,
        **only: Unpack[FilterKeywords],
    ) -> list[RecordedEvent]:
        """Read events of every stream, newest first.

        Args:
            start_position: First global position to read, inclusive; -1: the newest. Defaults
                to -1.
            count: Most events to return; None: all of them, read in pages. Defaults to 1,000.
            raw: Return `data` and `metadata` as the bytes that are stored. Defaults to False.

        Returns:
            0 to *count* events by descending global position. Fewer than *count*: the beginning
            was reached.

        Raises:
            ValueError: *start_position* or *count* is out of range.
            SerializationError: An event cannot be read as its type; it can be with *raw*.
            StorageUnavailableError: No answer in time; safe to retry.
        """
        return self._read(ALL_STREAMS, start_position, count, _BACKWARD, only, raw=raw)

    @documents_filter
    def stream_forward(
        self,
        stream_id: str,
        start_version: int = 1,
        *,
        batch_size: int = PAGE,
        raw: bool = False,
        **only: Unpack[FilterKeywords],
    ) -> Iterator[RecordedEvent]:
        """Iterate over a stream, oldest first, with one page in memory.

        Args:
            stream_id: The stream to read.
            start_version: First version to read, inclusive, 1-based. Defaults to 1.
            batch_size: Most events of a page, 1 to 10,000. Defaults to 1,000. A page of large
                events ends sooner, with the one that reaches 8 MiB.
            raw: Yield `data` and `metadata` as the bytes that are stored. Defaults to False.

        Raises:
            StreamNotFoundError, StreamDeletedError: Raised by this call, not by the first step.
            SerializationError: Raised by the step to an event that cannot be read as its type. The
                next step goes on after it.
        """
        stream_id = check_stream_id(stream_id)
        return self._iterate(stream_id, start_version, batch_size, _FORWARD, only, raw=raw)

    @documents_filter
    def stream_backward(
        self,
        stream_id: str,
        start_version: int = FROM_END,
        *,
        batch_size: int = PAGE,
        raw: bool = False,
        **only: Unpack[FilterKeywords],
    ) -> Iterator[RecordedEvent]:
        """Iterate over a stream, newest first; see `stream_forward`."""
        stream_id = check_stream_id(stream_id)
        return self._iterate(stream_id, start_version, batch_size, _BACKWARD, only, raw=raw)

    @documents_filter
    def stream_all_forward(
        self,
        start_position: int = 1,
        *,
        batch_size: int = PAGE,
        raw: bool = False,
        **only: Unpack[FilterKeywords],
    ) -> Iterator[RecordedEvent]:
        """Iterate over every stream, in commit order; see `stream_forward`."""
        return self._iterate(ALL_STREAMS, start_position, batch_size, _FORWARD, only, raw=raw)

    @documents_filter
    def stream_all_backward(
        self,
        start_position: int = FROM_END,
        *,
        batch_size: int = PAGE,
        raw: bool = False,
        **only: Unpack[FilterKeywords],
    ) -> Iterator[RecordedEvent]:
        """Iterate over every stream, newest first; see `stream_forward`."""
        return self._iterate(ALL_STREAMS, start_position, batch_size, _BACKWARD, only, raw=raw)

    @documents_filter
    def follow_stream(
        self,
        stream_id: str,
        start_from: Literal["origin", "current"] | int = "origin",
        *,
        batch_size: int = PAGE,
        idle_timeout: float | None = None,
        raw: bool = False,
        **only: Unpack[FilterKeywords],
    ) -> Follower:
        """Iterate over a stream, oldest first, and wait for new events at its end.

        Nothing of it is stored: whoever goes on later starts from the `Follower.position` that it
        kept. It ends when it is closed, from any thread, or the store is. Without actors new events
        are found within `Config.poll_interval`.

        Args:
            stream_id: The stream to follow. It need not exist yet.
            start_from: "origin"; "current": after the newest event as of this call; or a version,
                exclusive, 0 or more. Defaults to "origin".
            batch_size: Most events of a page, 1 to 10,000. Defaults to 1,000. A page of large
                events ends sooner, with the one that reaches 8 MiB.
            idle_timeout: Seconds that a step waits for an event before the iteration ends; None:
                no limit. Defaults to None.
            raw: Yield `data` and `metadata` as the bytes that are stored. Defaults to False.

        Raises:
            TypeError, ValueError: An argument is invalid; the message names it.
            StreamDeletedError: Raised by the step that finds the stream deleted.
            SerializationError: Raised by the step to an event that cannot be read as its type. The
                next step goes on after it.
            StorageUnavailableError: No answer in time; the next step goes on.
        """
        stream_id = check_stream_id(stream_id)
        return self._follow(stream_id, start_from, batch_size, idle_timeout, only, raw=raw)

    @documents_filter
    def follow_all(
        self,
        start_from: Literal["origin", "current"] | int = "origin",
        *,
        batch_size: int = PAGE,
        idle_timeout: float | None = None,
        raw: bool = False,
        **only: Unpack[FilterKeywords],
    ) -> Follower:
        """Iterate over every stream, in commit order, and wait at the end; see `follow_stream`."""
        return self._follow(ALL_STREAMS, start_from, batch_size, idle_timeout, only, raw=raw)

    def stream_info(self, stream_id: str) -> StreamInfo:
        """Return version and times of a stream, deleted or not, or of the store for ``$all``.

        Raises:
            StreamNotFoundError: The stream does not exist.
        """
        stream_id = check_subscribable(stream_id)
        return self._call(self._storage().stream_info, stream_id, self._deadline())

    def find_event(self, event_id: UUID, *, raw: bool = False) -> RecordedEvent | None:
        """Return the event with this id, as a read of all streams returns it.

        Args:
            event_id: Its id.
            raw: Return `data` and `metadata` as the stored bytes. Defaults to False.

        Returns:
            None if no event has this id.

        Raises:
            SerializationError: It cannot be read as its type.
        """
        event_id = check_uuid("event_id", event_id)
        return self._call(self._found, event_id, raw=check_bool("raw", raw))

    def streams(
        self,
        after: str | None = None,
        count: int = PAGE,
        *,
        prefix: str = "",
        search: str = "",
        order: Literal["stream_id", "creation"] = "stream_id",
        descending: bool = False,
    ) -> list[StreamInfo]:
        """List the streams, including deleted ones, a page at a time.

        Args:
            after: Last id of the previous page; None: start with the first stream.
            count: Most streams to return, 1 to 10,000. Defaults to 1,000.
            prefix: Only ids that begin with this. Defaults to all.
            search: Only ids that contain this, letter by letter; without a prefix every id is
                looked at. Defaults to all.
            order: ``"stream_id"``: by the bytes of their ids; ``"creation"``: as they were
                created. Defaults to ``"stream_id"``.
            descending: Turn the order round. Defaults to False.

        Returns:
            0 to *count* streams. Fewer than *count*: the end was reached.

        Raises:
            StreamNotFoundError: In the order of creation, *after* does not exist.
        """
        if after is not None:
            check_name("after", after)
        count = check_count("count", count)
        listing = StreamListing.of(prefix=prefix, search=search, order=order, descending=descending)
        return self._call(self._storage().streams, listing, after, count, self._deadline())

    def stream_count(self) -> int:
        """Return the number of streams, without deleted ones."""
        return self._call(self._storage().stream_count, self._deadline())

    # ── snapshots ────────────────────────────────────────────────────────────────────────────

    def record_snapshot(
        self,
        stream_id: str,
        stream_version: int,
        snapshot: SnapshotData,
        *,
        connection: object | None = None,
    ) -> bool:
        """Record what the events of a stream come to, up to a version.

        The newest snapshot of each type is kept. It is no event: no read of events returns it, and
        no append waits for it.

        Args:
            stream_id: A stream that exists.
            stream_version: Version of the last event that is in it, at most the stream's.
            snapshot: Recorded for the same version again, it replaces the one before.
            connection: Record it in the transaction that is open on this connection of yours; see
                `append_to_stream`. Defaults to None: the store commits.

        Returns:
            True: it is stored. False: one of a newer version is, and stays.

        Raises:
            ValueError: *stream_version* is beyond the version of the stream.
            StreamNotFoundError, StreamDeletedError: There is no such stream.
            SerializationError: It cannot be serialized, or not be read again.
            StorageUnavailableError: No answer in time; safe to retry.
        """
        stream_id = check_stream_id(stream_id)
        stream_version = check_position("stream_version", stream_version, least=1)
        return self._record_snapshot(stream_id, stream_version, snapshot, connection)

    def read_snapshot(
        self, stream_id: str, snapshot_type: str, *, raw: bool = False
    ) -> Snapshot | None:
        """Return the newest snapshot of a type, if there is one that this store can read.

        Args:
            stream_id: The stream.
            snapshot_type: Its type; others are ignored.
            raw: Return `data` and `metadata` as the stored bytes. Defaults to False.

        Returns:
            None if there is none, or, without *raw*, if another serializer or another version of
            the registered class wrote it: what it says can be had from the events.

        Raises:
            StreamNotFoundError, StreamDeletedError: There is no such stream.
            StorageUnavailableError: No answer in time; safe to retry.
        """
        key = check_stream_id(stream_id), check_name("snapshot_type", snapshot_type)
        return self._call(self._snapshots().read, *key, raw=check_bool("raw", raw))

    def read_stream_from_snapshot(
        self,
        stream_id: str,
        snapshot_type: str,
        *,
        missing_ok: bool = False,
        raw: bool = False,
    ) -> tuple[Snapshot | None, list[RecordedEvent]]:
        """Read a snapshot and the events after it, which together are the whole stream.

        Args:
            stream_id: The stream.
            snapshot_type: Type of the snapshot; others are ignored.
            missing_ok: Return None and no events for a stream that does not exist. Defaults to
                False.
            raw: Return `data` and `metadata` as the bytes that are stored. Defaults to False.

        Returns:
            What `read_snapshot` returns, and the events after its version, oldest first; without a
            snapshot, all events.

        Raises:
            StreamNotFoundError: The stream does not exist, and *missing_ok* is False.
            StreamDeletedError: The stream was deleted.
            SerializationError: An event cannot be read as its type; it can be with *raw*.
            StorageUnavailableError: No answer in time; safe to retry.
        """
        key = check_stream_id(stream_id), check_name("snapshot_type", snapshot_type)
        raw = check_bool("raw", raw)
        return self._call(self._snapshots().read_stream, *key, missing_ok=missing_ok, raw=raw)

    def delete_snapshot(
        self, stream_id: str, snapshot_type: str, *, connection: object | None = None
    ) -> bool:
        """Delete the snapshot of a type, also of a deleted stream.

        Args:
            stream_id: The stream.
            snapshot_type: Its type.
            connection: As for `record_snapshot`.

        Returns:
            Whether there was one.

        Raises:
            StorageUnavailableError: No answer in time; safe to retry.
        """
        key = check_stream_id(stream_id), check_name("snapshot_type", snapshot_type)
        return self._delete_snapshot(*key, connection)

    # ── subscribing ──────────────────────────────────────────────────────────────────────────

    @documents_options
    def subscribe_to_stream(
        self,
        stream_id: str,
        subscription_name: str,
        subscriber: Receiver,
        **options: Unpack[SubscriptionKeywords],
    ) -> Subscription:
        """Deliver every event of a stream, in order, at least once, to one subscriber.

        The stream need not exist yet. An existing subscription goes on after its checkpoint.

        Args:
            stream_id: The stream to subscribe to.
            subscription_name: Identifies the subscription among those to the stream; 1 to 1,000
                bytes of UTF-8.
            subscriber: A function that takes `Events`, or the reference of a pykka actor. A
                function acknowledges a batch by returning None. An actor receives `Subscribed`,
                `Events` and `SubscriptionLost`, and acknowledges with `Subscription.ack`.
            **options: Listed below.

        Returns:
            The handle, once this process owns the subscription or stands by to take it over.

        Raises:
            TypeError, ValueError: An argument is invalid; the message names it.
            SubscriptionInUseError: Another subscriber is connected in this store, or another
                runtime owns the subscription and *when_owned* is "error".
            SubscriptionError: It belongs to a projection: use `project`.
            StorageUnavailableError: No answer in time; safe to retry.
            NotRunningError: The store is closed, or its runtime delivers nothing.
        """
        key = check_stream_id(stream_id), check_name("subscription_name", subscription_name)
        return self._subscribe(key, subscriber, SubscriptionOptions.parse(options))

    @documents_options
    def subscribe_to_all_streams(
        self,
        subscription_name: str,
        subscriber: Receiver,
        **options: Unpack[SubscriptionKeywords],
    ) -> Subscription:
        """Deliver every event of every stream, in commit order, at least once, to one subscriber.

        Arguments, result and errors are those of `subscribe_to_stream`; positions are global
        positions.
        """
        key = ALL_STREAMS, check_name("subscription_name", subscription_name)
        return self._subscribe(key, subscriber, SubscriptionOptions.parse(options))

    def unsubscribe_from_stream(self, stream_id: str, subscription_name: str) -> None:
        """Stop a subscription of this store. Its checkpoint stays stored.

        Raises:
            SubscriptionNotFoundError: No such subscription runs in this store.
        """
        key = check_stream_id(stream_id), subscription_name
        self._call(self._running().unsubscribe, *key)

    def unsubscribe_from_all_streams(self, subscription_name: str) -> None:
        """Stop a subscription of this store to all streams. Its checkpoint stays stored.

        Raises:
            SubscriptionNotFoundError: No such subscription runs in this store.
        """
        self._call(self._running().unsubscribe, ALL_STREAMS, subscription_name)

    def ack(
        self, subscription: Subscription, what: int | RecordedEvent | Sequence[RecordedEvent]
    ) -> None:
        """Acknowledge everything up to *what*; the same as `Subscription.ack`."""
        subscription.ack(what)

    # ── subscriptions of any process ─────────────────────────────────────────────────────────

    def subscriptions(self) -> list[SubscriptionInfo]:
        """Return every subscription, wherever it runs, in one consistent read."""
        return self._call(self._storage().subscriptions, self._deadline())

    def subscription_info(self, stream_id: str, subscription_name: str) -> SubscriptionInfo:
        """Return one subscription, wherever it runs.

        Here and in the methods below, the *stream_id* of a subscription to all streams is ``$all``.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """
        key = key_of(stream_id, subscription_name)
        return self._call(self._storage().subscription_info, *key, self._deadline())

    def pause_subscription(self, stream_id: str, subscription_name: str) -> None:
        """Pause a subscription, wherever it runs. It takes effect within `poll_interval`.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """
        key = key_of(stream_id, subscription_name)
        self._call(self._set_paused, key, paused=True)

    def resume_subscription(self, stream_id: str, subscription_name: str) -> None:
        """Resume a paused subscription, wherever it runs.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """
        key = key_of(stream_id, subscription_name)
        self._call(self._set_paused, key, paused=False)

    def reset_subscription(self, stream_id: str, subscription_name: str, position: int) -> int:
        """Set the checkpoint of a subscription: delivery continues after *position*.

        The current owner is fenced and claims the subscription again. The next subscriber says
        again what its filter and `keep_order` are. Parked events after *position* are dropped, as
        they are delivered anew; the log says how many, and from where to where.

        Args:
            stream_id: The subscribed stream, or ``$all``.
            subscription_name: Its name.
            position: Last position that counts as acknowledged; 0: deliver everything again.

        Returns:
            The number of parked events that were dropped. After a lost answer it may be too low,
                which the log says.

        Raises:
            SubscriptionError: It belongs to a projection: use `rebuild_projection`.
            SubscriptionNotFoundError: It does not exist.
            ValueError: *position* is negative or beyond the head.
        """
        position = check_position("position", position)
        key = key_of(stream_id, subscription_name)
        return self._call(reset_to, self._storage(), *key, position, self._deadline())

    def parked(
        self, stream_id: str, subscription_name: str, after: int = 0, count: int = PAGE
    ) -> list[ParkedEvent]:
        """Return events that a subscription has put aside, by position.

        An event is parked by `Retry(then="park")`, by `Park`, or by `Subscription.nack`; so are the
        later events of its stream, which are not handled before it.

        Args:
            stream_id: The subscribed stream, or ``$all``.
            subscription_name: Its name.
            after: Position after which to begin. Defaults to 0.
            count: Most events to return, 1 to 10,000. Defaults to 1,000.

        Raises:
            SubscriptionNotFoundError: It does not exist.
            TypeError, ValueError: An argument is invalid; the message names it.
        """
        key = key_of(stream_id, subscription_name)
        after, count = check_position("after", after), check_count("count", count)
        return self._call(self._storage().parked, *key, after, count, self._deadline())

    def retry_parked(
        self,
        stream_id: str,
        subscription_name: str,
        key: str | None = None,
        *,
        limit: int | None = None,
        dry_run: bool = False,
    ) -> int:
        """Have parked events delivered again, in the order of their stream, at least once.

        The owner of the subscription does that before it goes on with new events; without an
        owner, the next one does. `Events.replay` is True then. What is acknowledged is not parked
        any more. When nothing of a stream is parked any more, its new events are handled again. An
        event that fails again stays parked, and so do those after it.

        Args:
            stream_id: The subscribed stream, or ``$all``.
            subscription_name: Its name.
            key: The stream whose parked events are meant. Defaults to None: any.
            limit: Most events, 1 or more, the oldest ones. Defaults to None: all.
            dry_run: Change nothing, tell the number alone. Defaults to False.

        Returns:
            The number of events.

        Raises:
            SubscriptionNotFoundError: It does not exist.
            TypeError, ValueError: An argument is invalid; the message names it.
        """
        choice = choice_of(stream_id, subscription_name, key, limit, None, dry_run=dry_run)
        return self._call(self._storage().choose_parked, choice, self._deadline())

    def skip_parked(
        self,
        stream_id: str,
        subscription_name: str,
        key: str | None = None,
        *,
        reason: str,
        limit: int | None = None,
        dry_run: bool = False,
    ) -> int:
        """Give parked events up: they are never delivered again. The reason is stored with them.

        Args:
            stream_id: The subscribed stream, or ``$all``.
            subscription_name: Its name.
            key: The stream whose parked events are meant. Defaults to None: any.
            reason: Why, for people; 1 to 2,000 bytes of UTF-8.
            limit: Most events, 1 or more, the oldest ones. Defaults to None: all.
            dry_run: Change nothing, tell the number alone. Defaults to False.

        Returns:
            The number of events.

        Raises:
            OutcomeUnknownError: They may be skipped. Look at `parked` before it is repeated: with a
                *limit* it skips the next ones.
            SubscriptionNotFoundError: It does not exist.
            TypeError, ValueError: An argument is invalid; the message names it.
        """
        reason = check_reason(reason)
        choice = choice_of(stream_id, subscription_name, key, limit, reason, dry_run=dry_run)
        return self._call(self._storage().choose_parked, choice, self._deadline())

    def delete_subscription(
        self, stream_id: str, subscription_name: str, *, drop_parked: bool = False
    ) -> int:
        """Delete a subscription and its checkpoint. Its subscriber receives `SubscriptionLost`.

        Args:
            stream_id: The subscribed stream, or ``$all``.
            subscription_name: Its name.
            drop_parked: Also if events are parked. They are dropped; the log says how many, and
                from where to where. Defaults to False.

        Returns:
            The number of parked events that were dropped. After a lost answer it may be too low,
                which the log says.

        Raises:
            SubscriptionError: Events are parked, so many. Retry or skip them, or drop them. Or it
                belongs to a projection: use `drop_projection`.
            SubscriptionNotFoundError: It does not exist.
            TypeError, ValueError: An argument is invalid; the message names it.
        """
        key = key_of(stream_id, subscription_name)
        check_bool("drop_parked", drop_parked)
        storage, deadline = self._storage(), self._deadline()
        return self._call(deleted, storage, *key, deadline, drop_parked=drop_parked)

    def wait_for(
        self,
        stream_id: str,
        subscription_name: str,
        result_or_event: Awaited,
        timeout: float,
    ) -> None:
        """Block until a subscription, wherever it runs, has acknowledged what was appended.

        After a reset, or a rebuild of a projection, it is waited for again.

        Args:
            stream_id: The subscribed stream, or ``$all``.
            subscription_name: Its name.
            result_or_event: The result of an append, several of them, that of a link, an event, or
                a position in what is subscribed to.
            timeout: Most seconds to wait; 0: look once. The first answer of the storage may take up
                to `connect_timeout` longer.

        Raises:
            EventParkedError: An event that was waited for is parked, or is put aside meanwhile.
                `retry_parked` has it delivered again, `skip_parked` gives it up.
            SubscriptionNotFoundError: It does not exist.
            DeliveryTimeoutError: It was not acknowledged within *timeout* seconds.
            StorageUnavailableError: No answer in time; safe to retry.
            TypeError, ValueError: An argument is invalid; the message names it.
        """
        key = key_of(stream_id, subscription_name)
        self._wait_for(key, result_or_event, timeout)

    def caught_up(self, stream_id: str, subscription_name: str, timeout: float) -> None:
        """Block until a subscription, wherever it runs, has got past everything stored so far.

        That is the newest position as of this call. Parked events do not hold it up, nor do events
        that are left out or were deleted.

        Args:
            stream_id: The subscribed stream, or ``$all``.
            subscription_name: Its name.
            timeout: Most seconds to wait; 0: look once. The first answer of the storage may take up
                to `connect_timeout` longer.

        Raises:
            SubscriptionNotFoundError: It does not exist.
            DeliveryTimeoutError: It was not there within *timeout* seconds.
            StorageUnavailableError: No answer in time; safe to retry.
            TypeError, ValueError: An argument is invalid; the message names it.
        """
        self._wait_for(key_of(stream_id, subscription_name), None, timeout)

    # ── projections ──────────────────────────────────────────────────────────────────────────

    def project(self, projection: Projection) -> Subscription:
        """Run a version of a projection: create its tables, once, and keep them up to date.

        The first version of a name is current at once, and `Projection.switch` is called after
        `Projection.create`, in the same transaction. Another version is built beside the current
        one until `switch_projection` leads readers to it; both run until one is dropped. Of
        several processes one runs it, and others stand by, as with every subscription.

        Args:
            projection: The version. Needs a store in PostgreSQL.

        Returns:
            The handle of its subscription.

        Raises:
            ProjectionError: Its subscription was deleted: rebuild or drop the version. Or another
                subscription has that name.
            SubscriptionOptionsError: Its filter or `keep_order` is another one: rebuild it.
            SubscriptionLostError: Somebody drops it meanwhile.
            RuntimeError: A function of *projection* ended the transaction.
            TypeError, ValueError: An argument is invalid, or the store is in memory.
            SubscriptionInUseError: The version runs in this store already.
            StorageUnavailableError: No answer in time, or another process creates it; safe to
                retry.
            OutcomeUnknownError: It may be created; safe to retry.
            NotRunningError: The store is closed, or its runtime delivers nothing.
        """
        found = self._waited(self._projecting.create(projection))
        key = ALL_STREAMS, projection.subscription_name
        return self._subscribe(key, projection.handle, projection.options, found)

    def switch_projection(
        self,
        which: Projection | str,
        version: int | None = None,
        *,
        force: bool = False,
        timeout: float = 5.0,
    ) -> None:
        """Make a version the current one and call `Projection.switch`, in one transaction.

        Refused unless the version has handled everything that is stored as of this call. Nothing
        is done if it is current already.

        Args:
            which: The projection: a `Projection`, or the name of one that this store runs.
            version: With a name, the version.
            force: Switch also to a version that is behind. Defaults to False.
            timeout: Seconds to wait until it has caught up. Defaults to 5.

        Raises:
            ProjectionError: It has not caught up; the message says how far it is. Or its
                subscription was deleted.
            ProjectionNotFoundError: It does not exist.
            RuntimeError: The function ended the transaction.
            TypeError, ValueError: An argument is invalid, or the functions are not known here.
            StorageUnavailableError: No answer in time; safe to retry.
            OutcomeUnknownError: It may be current; safe to retry.
        """
        self._waited(self._projecting.switch(which, version, force=force, timeout=timeout))

    def rebuild_projection(
        self, which: Projection | str, version: int | None = None, *, force: bool = False
    ) -> None:
        """Have a version handle everything from its start again, with empty tables.

        `Projection.drop` and `Projection.create` are called, and the subscription is set back, in
        one transaction; for the current version `Projection.switch` is called last. A batch that is
        being handled is waited for, and the next one waits. The owner, in whichever process, goes
        on from there; one with another filter or `keep_order` ends by a `SubscriptionOptionsError`.

        Args:
            which: The projection: a `Projection`, or the name of one that this store runs.
            version: With a name, the version.
            force: Rebuild also the current version, whose readers see it grow. Defaults to False.

        Raises:
            ProjectionError: It is the current version. Or another subscription has its name.
            ProjectionNotFoundError: It does not exist.
            RuntimeError: A function ended the transaction.
            TypeError, ValueError: An argument is invalid, the functions are not known here, or
                there is no `Projection.drop`.
            StorageUnavailableError: No answer in time, or a reader or a batch holds a lock for
                longer than `connect_timeout`. Nothing has changed; safe to retry.
            OutcomeUnknownError: It may be rebuilt; safe to retry.
        """
        self._waited(self._projecting.rebuild(which, version, force=force))

    def drop_projection(
        self, which: Projection | str, version: int | None = None, *, force: bool = False
    ) -> None:
        """Forget a version and delete its subscription, wherever it runs.

        If its functions are known here, `Projection.drop` is called in the same transaction; else
        its tables stay. A batch that is being handled is waited for. If it runs in this store, it
        is unsubscribed afterwards. Remove it from the code of all processes first: `project` would
        create it again.

        Args:
            which: The projection: a `Projection`, or the name of one.
            version: With a name, the version.
            force: Drop also the current version. Defaults to False.

        Raises:
            ProjectionError: It is the current version.
            ProjectionNotFoundError: It does not exist.
            RuntimeError: The function ended the transaction.
            TypeError, ValueError: An argument is invalid.
            StorageUnavailableError: No answer in time, or a reader or a batch holds a lock for
                longer than `connect_timeout`. Nothing has changed; safe to retry.
            OutcomeUnknownError: It may be dropped.
        """
        self._waited(self._projecting.drop(which, version, force=force))

    def projections(self, over: float | None = None) -> list[ProjectionInfo]:
        """Return every version of every projection, wherever it runs, by name and version.

        Args:
            over: Seconds between two looks, from which the rate follows; None: look once, without
                a rate. Defaults to None.
        """
        return self._waited(self._projecting.listed(over))

    # ── inside ───────────────────────────────────────────────────────────────────────────────

    def _call(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return call(*args, **kwargs)

    def _waited(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return run_blocking(coroutine)

    def _link(
        self,
        link: Link,
        timeout: float | None,
        connection: object | None,
        processed: Events | None = None,
    ) -> LinkResult:
        deadline, runtime = self._append_deadline(timeout), self._running()
        if processed is not None:
            check_processed(processed, connection)
            return run_blocking(process_link(runtime, link, processed, deadline, BLOCKING))
        if connection is not None:
            joining = self._joins.link(runtime, link, connection, deadline, BLOCKING)
            return run_blocking(joining)
        self._check_not_inside(deadline)
        return runtime.storage.link(link, deadline)

    def _delete(self, deletion: Deletion, timeout: float | None, connection: object | None) -> None:
        deadline, runtime = self._append_deadline(timeout), self._running()
        if connection is not None:
            joining = self._joins.delete_stream(runtime, deletion, connection, deadline, BLOCKING)
            run_blocking(joining)
        else:
            self._check_not_inside(deadline)
            self._delete_at_once(deletion, deadline)

    def _delete_at_once(self, deletion: Deletion, deadline: float) -> None:
        runtime = self._running()
        runtime.storage.delete_stream(deletion, deadline)
        if deletion.hard:
            runtime.forget()

    def _found(self, event_id: UUID, *, raw: bool) -> RecordedEvent | None:
        stored = self._storage().find_event(event_id, self._deadline())
        return None if stored is None else self._decoding(raw=raw)(stored)

    def _snapshots(self) -> Snapshots:
        return Snapshots(self._codec, self._storage(), self._deadline)

    def _record_snapshot(
        self,
        stream_id: str,
        stream_version: int,
        snapshot: SnapshotData,
        connection: object | None,
    ) -> bool:
        place = stream_id, stream_version, snapshot
        return run_blocking(self._snapshots().record(*place, connection, BLOCKING))

    def _delete_snapshot(
        self, stream_id: str, snapshot_type: str, connection: object | None
    ) -> bool:
        return run_blocking(
            self._snapshots().delete(stream_id, snapshot_type, connection, BLOCKING)
        )

    def _set_paused(self, key: tuple[str, str], *, paused: bool) -> None:
        if (local := self._running().subscription(*key)) is None:
            self._storage().set_paused(*key, paused=paused, deadline=self._deadline())
        elif paused:
            local.pause()
        else:
            local.resume()

    def _wait_for(self, key: tuple[str, str], awaited: Awaited | None, timeout: float) -> None:
        run_blocking(self._reached(key, awaited, timeout, BLOCKING))

    async def _reached(
        self,
        key: tuple[str, str],
        awaited: Awaited | None,
        timeout: float,
        waits: Waits,
    ) -> None:
        """Wait for *awaited*; None: for everything that is stored now."""
        timeout = check_patience("timeout", timeout)
        if (local := self._running().subscription(*key)) is not None:
            await local.reached(awaited, timeout, waits)
            return
        storage, unparked = self._storage(), list[range]()
        if awaited is None:
            position = await waits.call(newest_position, storage, key[0], self._deadline())
        else:
            unparked = positions_in(key[0], awaited)
            position = last_of(unparked)
        await wait_for_checkpoint(
            storage,
            *key,
            position,
            unparked=unparked,
            timeout=timeout,
            patience=self.config.connect_timeout,
            longest_pause=self.config.poll_interval,
            waits=waits,
        )

    def _running(self) -> Runtime:
        runtime = self._own_runtime()
        if self._closed.is_set():
            raise NotRunningError("this store is closed")
        return runtime

    def _own_runtime(self) -> Runtime:
        if self._forks != lifetime.forks():
            raise NotRunningError(
                f"this store belongs to process {self._pid}: connect again after a fork"
            )
        return self._runtime

    def _storage(self) -> Storage:
        return self._running().storage

    def _deadline(self) -> float:
        return time.monotonic() + self.config.connect_timeout

    def _append_deadline(self, timeout: float | None) -> float:
        if timeout is None:
            return time.monotonic() + self.config.append_timeout
        return time.monotonic() + check_timeout("timeout", timeout)

    def _prepare(
        self,
        prepare: Callable[Concatenate[Codec, _P], Append],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> Append:
        self._running()
        return prepare(self._codec, *args, **kwargs)

    def _append_series(self, items: Iterable[tuple[str, EventData]], batch_size: int) -> int:
        # Here, not in the thread that appends.
        self._check_not_inside(self._append_deadline(None))
        series = self._series(items, batch_size)
        return append_blocking(series, lambda run: self._append(run, None))

    def _series(
        self, items: Iterable[tuple[str, EventData]], batch_size: int
    ) -> Iterator[list[EncodedItem]]:
        return runs(encoded_items(self._codec, items), batch_size)

    def _append(
        self,
        append: Append,
        timeout: float | None,
        connection: object | None = None,
        processed: Events | None = None,
    ) -> tuple[AppendResult, ...]:
        deadline = self._append_deadline(timeout)
        runtime, joins = self._running(), self._joins
        if processed is not None:
            check_processed(processed, connection)
            return run_blocking(
                process_append(runtime, self._codec, append, processed, deadline, BLOCKING)
            )
        if connection is not None:
            return run_blocking(
                joins.append(runtime, self._codec, append, connection, deadline, BLOCKING)
            )
        self._check_not_inside(deadline)
        try:
            return runtime.append(append, deadline).results
        except StoredOtherwiseError as refusal:
            return first_results(append, refusal, self._codec, self._storage(), deadline)

    def _check_not_inside(self, deadline: float) -> None:
        """Refuse what would wait for a transaction of this very thread."""
        if self._joins.are_used:
            run_blocking(self._joins.check_not_inside(self._running(), deadline, BLOCKING))

    def _read(
        self,
        stream_id: str,
        start: int,
        count: int | None,
        direction: ReadDirection,
        only: FilterKeywords,
        *,
        raw: bool,
        missing_ok: bool = False,
    ) -> list[RecordedEvent]:
        start = check_start(_name_of_start(stream_id), start, direction)
        if count is not None:
            count = check_int("count", count, least=1)
        read, decode = self._reading(stream_id, direction, only), self._decoding(raw=raw)
        try:
            return listed(read, decode, start, count, direction)
        except StreamNotFoundError:
            if missing_ok:
                return []
            raise

    def _iterate(
        self,
        stream_id: str,
        start: int,
        batch_size: int,
        direction: ReadDirection,
        only: FilterKeywords,
        *,
        raw: bool,
    ) -> Iterator[RecordedEvent]:
        pages = self._pages(stream_id, start, batch_size, direction, only)
        return iterated(pages, self._decoding(raw=raw))

    def _pages(
        self,
        stream_id: str,
        start: int,
        batch_size: int,
        direction: ReadDirection,
        only: FilterKeywords,
    ) -> Pages:
        start = check_start(_name_of_start(stream_id), start, direction)
        size = check_count("batch_size", batch_size)
        read = self._reading(stream_id, direction, only)
        return Pages(read, start, size, PAGE_BYTES, direction)

    def _follow(
        self,
        stream_id: str,
        start_from: Literal["origin", "current"] | int,
        batch_size: int,
        idle_timeout: float | None,
        only: FilterKeywords,
        *,
        raw: bool,
    ) -> Follower:
        start, settings = self._following(
            stream_id, start_from, batch_size, idle_timeout, only, raw=raw
        )
        position = start if isinstance(start, int) else start()
        return self._followers.add(Follower(settings, position, BLOCKING))

    def _following(
        self,
        stream_id: str,
        start_from: Literal["origin", "current"] | int,
        batch_size: int,
        idle_timeout: float | None,
        only: FilterKeywords,
        *,
        raw: bool,
    ) -> tuple[int | Callable[[], int], FollowSettings]:
        """Return what a follower is made of: the position before it, or what finds it."""
        if idle_timeout is not None:
            idle_timeout = check_timeout("idle_timeout", idle_timeout)
        settings = FollowSettings(
            self._reading(stream_id, _FORWARD, only),
            self._decoding(raw=raw),
            partial(self._own_runtime().watch, stream_id),
            batch_size=check_count("batch_size", batch_size),
            poll_interval=self.config.poll_interval,
            idle_timeout=idle_timeout,
        )
        start = parse_start(start_from)
        if start is Origin.CURRENT:
            newest = partial(newest_position, self._storage(), stream_id)
            return lambda: newest(self._deadline()), settings
        return 0 if start is Origin.ORIGIN else int(start), settings

    def _subscribe(
        self,
        key: tuple[str, str],
        subscriber: Receiver,
        options: SubscriptionOptions,
        subscription_id: int | None = None,
    ) -> RunningSubscription:
        subscription = self._running().subscribe(*key, subscriber, options, subscription_id)
        lifetime.runs(self, subscription)
        return subscription

    def _decoding(self, *, raw: bool) -> Decode:
        return as_stored_bytes if check_bool("raw", raw) else self._codec.decode

    def _reading(self, stream_id: str, direction: ReadDirection, only: FilterKeywords) -> Page:
        self._running()
        if (event_filter := EventFilter.parse(only)) is not None:
            return self._filtered(stream_id, direction, Filtering(event_filter, self._codec))

        def read(start: int, count: int, max_bytes: int | None) -> Examined:
            storage, page = self._storage(), (start, count, direction, self._deadline(), max_bytes)
            if stream_id == ALL_STREAMS:
                events = storage.read_all(*page)
            else:
                events = storage.read_stream(stream_id, *page)
            return unfiltered(events, start, count, max_bytes, direction)

        return read

    def _filtered(self, stream_id: str, direction: ReadDirection, filtering: Filtering) -> Page:
        def read(start: int, count: int, max_bytes: int | None) -> Examined:
            page = start, count, direction, filtering.event_filter, self._deadline(), max_bytes
            examined = self._storage().read_matching(stream_id, *page)
            return examined._replace(events=filtering.left(examined.events))

        return read


def _name_of_start(stream_id: str) -> str:
    return "start_position" if stream_id == ALL_STREAMS else "start_version"


def key_of(stream_id: str, subscription_name: str) -> tuple[str, str]:
    """Return what names a subscription, whose stream may be ``$all``."""
    return check_subscribable(stream_id), check_name("subscription_name", subscription_name)
