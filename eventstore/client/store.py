"""The facade: the public API of a store. It checks arguments and delegates."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from eventstore.client.codec import Codec, as_stored_bytes
from eventstore.client.following import Follower, Followers, FollowSettings
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
    wait_for_checkpoint,
)
from eventstore.client.runs import EncodedItem, append_runs, encoded_items, runs
from eventstore.client.targets import installs, registered_runtime
from eventstore.model.awaited import Awaited, position_in
from eventstore.model.checks import check_bool, check_int, check_timeout, check_uuid
from eventstore.model.config import Config
from eventstore.model.errors import NotRunningError, StreamNotFoundError
from eventstore.model.events import AppendResult, EventData, RecordedEvent, StreamInfo
from eventstore.model.names import ALL_STREAMS, check_name, check_stream_id, check_subscribable
from eventstore.model.stream_listing import StreamListing
from eventstore.model.subscriber_messages import Receiver
from eventstore.model.subscription import (
    Origin,
    Subscription,
    SubscriptionInfo,
    SubscriptionKeywords,
    SubscriptionOptions,
    documents_options,
    parse_start,
)
from eventstore.ports.runtime import Health, RunningSubscription, Runtime
from eventstore.ports.storage import ReadDirection, Storage
from eventstore.ports.stored_events import Append, StoredEvent, StoredOtherwiseError
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

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._codec = Codec(runtime.config.serializer, runtime.config.types)
        self._pid, self._forks = os.getpid(), lifetime.forks()
        self._closed = threading.Event()
        self._followers = Followers()
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
                `CallerRuntime` starts no thread, appends and reads only.
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
        try:
            if self._forks == lifetime.forks():
                self._runtime.close(self.config.stop_timeout if timeout is None else timeout)
            else:
                self._runtime.abandon()
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
        """
        append = self._prepare(prepare_one, stream_id, expected_version, events)
        [result] = self._append(append, timeout)
        return result

    def append_to_streams(
        self,
        appends: Iterable[tuple[str, int, Iterable[EventData]]],
        *,
        timeout: float | None = None,
    ) -> list[AppendResult]:
        """Append to several streams, all or none.

        Args:
            appends: One (stream_id, expected_version, events) per stream. A stream without events
                is only checked; if every stream is only checked, nothing is written.
            timeout: Seconds until the deadline. Defaults to `Config.append_timeout`.

        Returns:
            One result per stream, in the order of *appends*.

        Raises:
            ValueError: A stream occurs twice.
            EventStoreError: As for `append_to_stream`.
        """
        append = self._prepare(prepare_several, appends)
        results = self._append(append, timeout)
        return list(results)

    def append_many(self, items: Iterable[tuple[str, EventData]], *, batch_size: int = PAGE) -> int:
        """Append a long series of events in its order, whatever the versions, in many commits.

        Each commit is atomic, the series is not. To go on after an error, append the same series
        with the same ids and *batch_size* again: what is stored is not stored twice. Events that
        change between streams one by one share no commit, as a commit keeps each stream together.

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

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def read_stream_forward(
        self,
        stream_id: str,
        start_version: int = 1,
        count: int | None = None,
        *,
        missing_ok: bool = False,
        raw: bool = False,
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
        return self._read(stream_id, start_version, count, _FORWARD, raw=raw, missing_ok=missing_ok)

    def read_stream_backward(
        self,
        stream_id: str,
        start_version: int = FROM_END,
        count: int | None = None,
        *,
        missing_ok: bool = False,
        raw: bool = False,
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
            stream_id, start_version, count, _BACKWARD, raw=raw, missing_ok=missing_ok
        )

    def read_all_streams_forward(
        self, start_position: int = 1, count: int | None = PAGE, *, raw: bool = False
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
        return self._read(ALL_STREAMS, start_position, count, _FORWARD, raw=raw)

    def read_all_streams_backward(
        self, start_position: int = FROM_END, count: int | None = PAGE, *, raw: bool = False
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
        return self._read(ALL_STREAMS, start_position, count, _BACKWARD, raw=raw)

    def stream_forward(
        self,
        stream_id: str,
        start_version: int = 1,
        *,
        batch_size: int = PAGE,
        raw: bool = False,
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
        return self._iterate(stream_id, start_version, batch_size, _FORWARD, raw=raw)

    def stream_backward(
        self,
        stream_id: str,
        start_version: int = FROM_END,
        *,
        batch_size: int = PAGE,
        raw: bool = False,
    ) -> Iterator[RecordedEvent]:
        """Iterate over a stream, newest first; see `stream_forward`."""
        stream_id = check_stream_id(stream_id)
        return self._iterate(stream_id, start_version, batch_size, _BACKWARD, raw=raw)

    def stream_all_forward(
        self, start_position: int = 1, *, batch_size: int = PAGE, raw: bool = False
    ) -> Iterator[RecordedEvent]:
        """Iterate over every stream, in commit order; see `stream_forward`."""
        return self._iterate(ALL_STREAMS, start_position, batch_size, _FORWARD, raw=raw)

    def stream_all_backward(
        self, start_position: int = FROM_END, *, batch_size: int = PAGE, raw: bool = False
    ) -> Iterator[RecordedEvent]:
        """Iterate over every stream, newest first; see `stream_forward`."""
        return self._iterate(ALL_STREAMS, start_position, batch_size, _BACKWARD, raw=raw)

    def follow_stream(
        self,
        stream_id: str,
        start_from: Literal["origin", "current"] | int = "origin",
        *,
        batch_size: int = PAGE,
        idle_timeout: float | None = None,
        raw: bool = False,
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
        return self._follow(stream_id, start_from, batch_size, idle_timeout, raw=raw)

    def follow_all(
        self,
        start_from: Literal["origin", "current"] | int = "origin",
        *,
        batch_size: int = PAGE,
        idle_timeout: float | None = None,
        raw: bool = False,
    ) -> Follower:
        """Iterate over every stream, in commit order, and wait at the end; see `follow_stream`."""
        return self._follow(ALL_STREAMS, start_from, batch_size, idle_timeout, raw=raw)

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

    def reset_subscription(self, stream_id: str, subscription_name: str, position: int) -> None:
        """Set the checkpoint of a subscription: delivery continues after *position*.

        The current owner is fenced and claims the subscription again.

        Args:
            stream_id: The subscribed stream, or ``$all``.
            subscription_name: Its name.
            position: Last position that counts as acknowledged; 0: deliver everything again.

        Raises:
            SubscriptionNotFoundError: It does not exist.
            ValueError: *position* is negative or beyond the head.
        """
        position = check_position("position", position)
        key = key_of(stream_id, subscription_name)
        self._call(self._storage().reset_subscription, *key, position, self._deadline())

    def delete_subscription(self, stream_id: str, subscription_name: str) -> None:
        """Delete a subscription and its checkpoint. Its subscriber receives `SubscriptionLost`.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """
        key = key_of(stream_id, subscription_name)
        self._call(self._storage().delete_subscription, *key, self._deadline())

    def wait_for(
        self,
        stream_id: str,
        subscription_name: str,
        result_or_event: Awaited,
        timeout: float,
    ) -> None:
        """Block until a subscription, wherever it runs, has acknowledged what was appended.

        Args:
            stream_id: The subscribed stream, or ``$all``.
            subscription_name: Its name.
            result_or_event: The result of an append, several of them, or an event.
            timeout: Most seconds to wait.

        Raises:
            SubscriptionNotFoundError: It does not exist.
            DeliveryTimeoutError: It was not acknowledged within *timeout* seconds.
        """
        key = key_of(stream_id, subscription_name)
        self._wait_for(key, result_or_event, timeout)

    # ── inside ───────────────────────────────────────────────────────────────────────────────

    def _call(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return call(*args, **kwargs)

    def _found(self, event_id: UUID, *, raw: bool) -> RecordedEvent | None:
        stored = self._storage().find_event(event_id, self._deadline())
        return None if stored is None else self._decoding(raw=raw)(stored)

    def _set_paused(self, key: tuple[str, str], *, paused: bool) -> None:
        if (local := self._running().subscription(*key)) is None:
            self._storage().set_paused(*key, paused=paused, deadline=self._deadline())
        elif paused:
            local.pause()
        else:
            local.resume()

    def _wait_for(self, key: tuple[str, str], awaited: Awaited, timeout: float) -> None:
        run_blocking(self._reached(key, awaited, timeout, BLOCKING))

    async def _reached(
        self,
        key: tuple[str, str],
        awaited: Awaited,
        timeout: float,
        waits: Waits,
    ) -> None:
        if (local := self._running().subscription(*key)) is not None:
            await local.reached(awaited, timeout, waits)
            return
        await wait_for_checkpoint(
            self._storage(),
            *key,
            position_in(key[0], awaited),
            timeout=timeout,
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
        async def append(run: Append) -> object:
            return self._append(run, None)

        return run_blocking(append_runs(self._series(items, batch_size), append, BLOCKING))

    def _series(
        self, items: Iterable[tuple[str, EventData]], batch_size: int
    ) -> Iterator[list[EncodedItem]]:
        return runs(encoded_items(self._codec, items), batch_size)

    def _append(self, append: Append, timeout: float | None) -> tuple[AppendResult, ...]:
        deadline = self._append_deadline(timeout)
        try:
            return self._running().append(append, deadline).results
        except StoredOtherwiseError as refusal:
            return first_results(append, refusal, self._codec, self._storage(), deadline)

    def _read(
        self,
        stream_id: str,
        start: int,
        count: int | None,
        direction: ReadDirection,
        *,
        raw: bool,
        missing_ok: bool = False,
    ) -> list[RecordedEvent]:
        start = check_start(_name_of_start(stream_id), start, direction)
        if count is not None:
            count = check_int("count", count, least=1)
        read, decode = self._reading(stream_id, direction), self._decoding(raw=raw)
        try:
            return listed(read, decode, start, count, direction)
        except StreamNotFoundError:
            if missing_ok:
                return []
            raise

    def _iterate(
        self, stream_id: str, start: int, batch_size: int, direction: ReadDirection, *, raw: bool
    ) -> Iterator[RecordedEvent]:
        pages = self._pages(stream_id, start, batch_size, direction)
        return iterated(pages, self._decoding(raw=raw))

    def _pages(
        self, stream_id: str, start: int, batch_size: int, direction: ReadDirection
    ) -> Pages:
        start = check_start(_name_of_start(stream_id), start, direction)
        size = check_count("batch_size", batch_size)
        return Pages(self._reading(stream_id, direction), start, size, PAGE_BYTES, direction)

    def _follow(
        self,
        stream_id: str,
        start_from: Literal["origin", "current"] | int,
        batch_size: int,
        idle_timeout: float | None,
        *,
        raw: bool,
    ) -> Follower:
        start, settings = self._following(stream_id, start_from, batch_size, idle_timeout, raw=raw)
        position = start if isinstance(start, int) else start()
        return self._followers.add(Follower(settings, position, BLOCKING))

    def _following(
        self,
        stream_id: str,
        start_from: Literal["origin", "current"] | int,
        batch_size: int,
        idle_timeout: float | None,
        *,
        raw: bool,
    ) -> tuple[int | Callable[[], int], FollowSettings]:
        """Return what a follower is made of: the position before it, or what finds it."""
        if idle_timeout is not None:
            idle_timeout = check_timeout("idle_timeout", idle_timeout)
        settings = FollowSettings(
            self._reading(stream_id, _FORWARD),
            self._decoding(raw=raw),
            partial(self._own_runtime().watch, stream_id),
            batch_size=check_count("batch_size", batch_size),
            poll_interval=self.config.poll_interval,
            idle_timeout=idle_timeout,
        )
        start = parse_start(start_from)
        if start is Origin.CURRENT:
            return partial(self._newest_position, stream_id), settings
        return 0 if start is Origin.ORIGIN else int(start), settings

    def _newest_position(self, stream_id: str) -> int:
        """Return the newest position of a stream, 0 if it is missing; of the store for ``$all``."""
        try:
            return self._storage().stream_info(stream_id, self._deadline()).stream_version
        except StreamNotFoundError:
            return 0

    def _subscribe(
        self, key: tuple[str, str], subscriber: Receiver, options: SubscriptionOptions
    ) -> RunningSubscription:
        subscription = self._running().subscribe(*key, subscriber, options)
        lifetime.runs(self, subscription)
        return subscription

    def _decoding(self, *, raw: bool) -> Decode:
        return as_stored_bytes if check_bool("raw", raw) else self._codec.decode

    def _reading(self, stream_id: str, direction: ReadDirection) -> Page:
        self._running()

        def read(start: int, count: int, max_bytes: int | None) -> list[StoredEvent]:
            storage, deadline = self._storage(), self._deadline()
            if stream_id == ALL_STREAMS:
                return storage.read_all(start, count, direction, deadline, max_bytes)
            return storage.read_stream(stream_id, start, count, direction, deadline, max_bytes)

        return read


def _name_of_start(stream_id: str) -> str:
    return "start_position" if stream_id == ALL_STREAMS else "start_version"


def key_of(stream_id: str, subscription_name: str) -> tuple[str, str]:
    """Return what names a subscription, whose stream may be ``$all``."""
    return check_subscribable(stream_id), check_name("subscription_name", subscription_name)
