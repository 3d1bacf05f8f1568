"""The facade for asyncio. `make surfaces` writes this file from store.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Any, Literal, Self, Unpack
from uuid import UUID

from eventstore.client.appending import check_iterable, prepare_one, prepare_several
from eventstore.client.async_subscription import AsyncSubscription
from eventstore.client.coroutine_calls import Connecting, CoroutineCalls
from eventstore.client.coroutine_handler import AsyncReceiver
from eventstore.client.following import AsyncFollower
from eventstore.client.paging import FROM_END, PAGE, check_count, check_position
from eventstore.client.store import EventStore, key_of
from eventstore.model.awaited import Awaited
from eventstore.model.checks import check_bool, check_uuid
from eventstore.model.config import Config
from eventstore.model.events import AppendResult, EventData, RecordedEvent, StreamInfo
from eventstore.model.names import ALL_STREAMS, check_name, check_stream_id, check_subscribable
from eventstore.model.stream_listing import StreamListing
from eventstore.model.subscription import (
    Subscription,
    SubscriptionInfo,
    SubscriptionKeywords,
    SubscriptionOptions,
    documents_options,
)
from eventstore.ports.runtime import Health, Runtime
from eventstore.ports.storage import ReadDirection

__all__ = ["AsyncEventStore"]

_FORWARD = ReadDirection.FORWARD
_BACKWARD = ReadDirection.BACKWARD


class AsyncEventStore(CoroutineCalls):
    """`EventStore` for asyncio: the same names, over the same actors and rules.

    Get one from `connect`, or from `attach` to a supervisor of your own. Close it, or use it in an
    ``async with`` statement. No call blocks the loop. Tasks of several loops may use one store.

    A cancelled call raises `asyncio.CancelledError`. An append that is cancelled may be stored;
    a note on the error says whether that is possible, and repeating it with the same ids tells.
    """

    @classmethod
    def connect(
        cls,
        target: str | Config,
        *,
        runtime: type[Runtime] | None = None,
        init: bool | None = None,
        pool: object | None = None,
    ) -> Connecting[Self]:
        """Connect: await it, or enter it with ``async with``.

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
        open_store = partial(EventStore.connect, target, runtime=runtime, init=init, pool=pool)
        return Connecting(open_store, cls)

    @classmethod
    def attach(
        cls, supervisor: Any, *, timeout: float = 10.0, runtime: type[Runtime] | None = None
    ) -> Connecting[Self]:
        """Use the store of a supervisor that the application started; `close` only detaches.

        Raises:
            EventStoreError: The supervisor is not up within *timeout* seconds; the error says why.
        """
        attach = partial(EventStore.attach, supervisor, timeout=timeout, runtime=runtime)
        return Connecting(attach, cls)

    @property
    def config(self) -> Config:
        """The settings of this store."""
        return self._store.config

    @property
    def dsn(self) -> str:
        """The libpq connection string in use, also for ``embedded:``. It contains the password."""
        return self._store.dsn

    async def health(self) -> Health:
        """Return the health of every part. The database is not asked."""
        return await self._call(self._running().health)

    async def close(self, timeout: float | None = None) -> None:
        """Stop delivery, wait for outstanding acknowledgements, end every append, release all.

        Idempotent; does not wait in a handler. Of several calls, the one that allows the least time
        counts. In a forked child it leaves the parent's connections alone.

        Args:
            timeout: Most seconds to take. Defaults to `Config.stop_timeout`.
        """
        await self._close(timeout)

    async def join(
        self,
        timeout: float | None = None,
        *,
        any: bool = False,  # noqa: A002
        signals: bool = False,
    ) -> None:
        """Wait until the store is closed.

        Args:
            timeout: Most seconds to wait; None: no limit. Defaults to None.
            any: Return at the first subscription that gave up, not only when none is left that
                runs. Defaults to False.
            signals: Close it at SIGTERM or SIGINT meanwhile; for the main thread.
                Defaults to False: the application handles signals.

        Raises:
            EventStoreError: The runtime failed, or its subscriptions gave up; the message says why.
            TimeoutError: The store still runs after *timeout* seconds.
        """
        await self._join(timeout, any=any, signals=signals)

    async def append_to_stream(
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
        append = await self._prepare(prepare_one, stream_id, expected_version, events)
        [result] = await self._append(append, timeout)
        return result

    async def append_to_streams(
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
        append = await self._prepare(prepare_several, appends)
        results = await self._append(append, timeout)
        return list(results)

    async def append_many(
        self, items: Iterable[tuple[str, EventData]], *, batch_size: int = PAGE
    ) -> int:
        """Append a long series of events in its order, whatever the versions, in many commits.

        Each commit is atomic, the series is not. To go on after an error, append the same series
        with the same ids and *batch_size* again: what is stored is not stored twice. Events that
        change between streams one by one share no commit, as a commit keeps each stream together.

        Args:
            items: Pairs of a stream id and an event. Read once, as they are needed, in a thread.
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
        return await self._append_series(check_iterable("items", items), batch_size)

    async def read_stream_forward(
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
        return await self._read(
            stream_id, start_version, count, _FORWARD, raw=raw, missing_ok=missing_ok
        )

    async def read_stream_backward(
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
        return await self._read(
            stream_id, start_version, count, _BACKWARD, raw=raw, missing_ok=missing_ok
        )

    async def read_all_streams_forward(
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
        return await self._read(ALL_STREAMS, start_position, count, _FORWARD, raw=raw)

    async def read_all_streams_backward(
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
        return await self._read(ALL_STREAMS, start_position, count, _BACKWARD, raw=raw)

    def stream_forward(
        self,
        stream_id: str,
        start_version: int = 1,
        *,
        batch_size: int = PAGE,
        raw: bool = False,
    ) -> AsyncIterator[RecordedEvent]:
        """Iterate over a stream, oldest first, with one page in memory.

        Args:
            stream_id: The stream to read.
            start_version: First version to read, inclusive, 1-based. Defaults to 1.
            batch_size: Most events of a page, 1 to 10,000. Defaults to 1,000. A page of large
                events ends sooner, with the one that reaches 8 MiB.
            raw: Yield `data` and `metadata` as the bytes that are stored. Defaults to False.

        Raises:
            StreamNotFoundError, StreamDeletedError: Raised by the first step.
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
    ) -> AsyncIterator[RecordedEvent]:
        """Iterate over a stream, newest first; see `stream_forward`."""
        stream_id = check_stream_id(stream_id)
        return self._iterate(stream_id, start_version, batch_size, _BACKWARD, raw=raw)

    def stream_all_forward(
        self, start_position: int = 1, *, batch_size: int = PAGE, raw: bool = False
    ) -> AsyncIterator[RecordedEvent]:
        """Iterate over every stream, in commit order; see `stream_forward`."""
        return self._iterate(ALL_STREAMS, start_position, batch_size, _FORWARD, raw=raw)

    def stream_all_backward(
        self, start_position: int = FROM_END, *, batch_size: int = PAGE, raw: bool = False
    ) -> AsyncIterator[RecordedEvent]:
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
    ) -> AsyncFollower:
        """Iterate over a stream, oldest first, and wait for new events at its end.

        Nothing of it is stored: whoever goes on later starts from the `Follower.position` that it
        kept. It ends when it is closed, from any thread, or the store is. Without actors new events
        are found within `Config.poll_interval`.

        Args:
            stream_id: The stream to follow. It need not exist yet.
            start_from: "origin"; "current": after the newest event as of the first step; or
                a version, exclusive, 0 or more. Defaults to "origin".
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
    ) -> AsyncFollower:
        """Iterate over every stream, in commit order, and wait at the end; see `follow_stream`."""
        return self._follow(ALL_STREAMS, start_from, batch_size, idle_timeout, raw=raw)

    async def stream_info(self, stream_id: str) -> StreamInfo:
        """Return version and times of a stream, deleted or not, or of the store for ``$all``.

        Raises:
            StreamNotFoundError: The stream does not exist.
        """
        stream_id = check_subscribable(stream_id)
        return await self._call(self._storage().stream_info, stream_id, self._deadline())

    async def find_event(self, event_id: UUID, *, raw: bool = False) -> RecordedEvent | None:
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
        return await self._call(self._found, event_id, raw=check_bool("raw", raw))

    async def streams(
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
        return await self._call(self._storage().streams, listing, after, count, self._deadline())

    async def stream_count(self) -> int:
        """Return the number of streams, without deleted ones."""
        return await self._call(self._storage().stream_count, self._deadline())

    @documents_options
    async def subscribe_to_stream(
        self,
        stream_id: str,
        subscription_name: str,
        subscriber: AsyncReceiver,
        **options: Unpack[SubscriptionKeywords],
    ) -> AsyncSubscription:
        """Deliver every event of a stream, in order, at least once, to one subscriber.

        The stream need not exist yet. An existing subscription goes on after its checkpoint.

        Args:
            stream_id: The stream to subscribe to.
            subscription_name: Identifies the subscription among those to the stream; 1 to 1,000
                bytes of UTF-8.
            subscriber: A coroutine function of `Events`, which runs on the loop of this call.
                Or a plain function, which runs in a thread; or an actor's reference. A
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
        return await self._subscribe(key, subscriber, SubscriptionOptions.parse(options))

    @documents_options
    async def subscribe_to_all_streams(
        self,
        subscription_name: str,
        subscriber: AsyncReceiver,
        **options: Unpack[SubscriptionKeywords],
    ) -> AsyncSubscription:
        """Deliver every event of every stream, in commit order, at least once, to one subscriber.

        Arguments, result and errors are those of `subscribe_to_stream`; positions are global
        positions.
        """
        key = ALL_STREAMS, check_name("subscription_name", subscription_name)
        return await self._subscribe(key, subscriber, SubscriptionOptions.parse(options))

    async def unsubscribe_from_stream(self, stream_id: str, subscription_name: str) -> None:
        """Stop a subscription of this store. Its checkpoint stays stored.

        Raises:
            SubscriptionNotFoundError: No such subscription runs in this store.
        """
        key = check_stream_id(stream_id), subscription_name
        await self._call(self._running().unsubscribe, *key)

    async def unsubscribe_from_all_streams(self, subscription_name: str) -> None:
        """Stop a subscription of this store to all streams. Its checkpoint stays stored.

        Raises:
            SubscriptionNotFoundError: No such subscription runs in this store.
        """
        await self._call(self._running().unsubscribe, ALL_STREAMS, subscription_name)

    def ack(
        self,
        subscription: Subscription | AsyncSubscription,
        what: int | RecordedEvent | Sequence[RecordedEvent],
    ) -> None:
        """Acknowledge everything up to *what*; the same as `Subscription.ack`."""
        subscription.ack(what)

    async def subscriptions(self) -> list[SubscriptionInfo]:
        """Return every subscription, wherever it runs, in one consistent read."""
        return await self._call(self._storage().subscriptions, self._deadline())

    async def subscription_info(self, stream_id: str, subscription_name: str) -> SubscriptionInfo:
        """Return one subscription, wherever it runs.

        Here and in the methods below, the *stream_id* of a subscription to all streams is ``$all``.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """
        key = key_of(stream_id, subscription_name)
        return await self._call(self._storage().subscription_info, *key, self._deadline())

    async def pause_subscription(self, stream_id: str, subscription_name: str) -> None:
        """Pause a subscription, wherever it runs. It takes effect within `poll_interval`.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """
        key = key_of(stream_id, subscription_name)
        await self._call(self._set_paused, key, paused=True)

    async def resume_subscription(self, stream_id: str, subscription_name: str) -> None:
        """Resume a paused subscription, wherever it runs.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """
        key = key_of(stream_id, subscription_name)
        await self._call(self._set_paused, key, paused=False)

    async def reset_subscription(
        self, stream_id: str, subscription_name: str, position: int
    ) -> None:
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
        await self._call(self._storage().reset_subscription, *key, position, self._deadline())

    async def delete_subscription(self, stream_id: str, subscription_name: str) -> None:
        """Delete a subscription and its checkpoint. Its subscriber receives `SubscriptionLost`.

        Raises:
            SubscriptionNotFoundError: It does not exist.
        """
        key = key_of(stream_id, subscription_name)
        await self._call(self._storage().delete_subscription, *key, self._deadline())

    async def wait_for(
        self,
        stream_id: str,
        subscription_name: str,
        result_or_event: Awaited,
        timeout: float,
    ) -> None:
        """Wait until a subscription, wherever it runs, has acknowledged what was appended.

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
        await self._wait_for(key, result_or_event, timeout)
