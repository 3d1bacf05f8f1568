"""What `AsyncEventStore` is made of: the calls of `EventStore`, waited for by coroutines.

An append is waited for without a thread. Calls that block run in a few threads of the store.
"""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar

from eventstore.client.appending import first_results
from eventstore.client.async_subscription import AsyncSubscription
from eventstore.client.codec import Codec
from eventstore.client.coroutine_handler import (
    HANDLED,
    AsyncReceiver,
    CoroutineHandler,
    is_coroutine_function,
)
from eventstore.client.decoded import Decoded, decoded
from eventstore.client.following import AsyncFollower
from eventstore.client.loop_waits import LoopWaits
from eventstore.client.own_thread import OwnThread, Threads
from eventstore.client.paging import Decode, Pages
from eventstore.client.processing import check_processed, process_append, process_link
from eventstore.client.projecting import Projecting
from eventstore.client.series import append_runs
from eventstore.client.store import EventStore
from eventstore.model.awaited import Awaited
from eventstore.model.event_filter import FilterKeywords
from eventstore.model.events import AppendResult, EventData, LinkResult, RecordedEvent
from eventstore.model.serializer import Types
from eventstore.model.snapshots import SnapshotData
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import Subscription, SubscriptionOptions
from eventstore.ports.changes import Deletion, Link
from eventstore.ports.reads import Examined, ReadDirection
from eventstore.ports.stored_events import Append, StoredOtherwiseError

__all__ = ["Connecting", "CoroutineCalls"]

P = ParamSpec("P")
T = TypeVar("T")

_MORE_THREADS = 4
"""Threads beside those that may read at once: for subscribing, pausing and the like."""

_MANY = 500
"""Events of an append, or streams of one, from which on a thread encodes them."""

_LOOK = 0.05
"""Seconds between two looks of a coroutine that waits for the end of the store."""


class CoroutineCalls:
    """Makes the calls of one store for coroutines. They may run in several loops."""

    def __init__(self, store: EventStore, first: Self | None = None) -> None:
        """Make the calls of *store*, in the threads of *first* if it was opened beside that."""
        self._store = store
        self._is_first = first is None
        if first is None:
            self._waits = LoopWaits(store.config.pool_size + _MORE_THREADS)
            self._surfaces = {store: self}
        else:
            self._waits = first._waits
            self._surfaces = first._surfaces
        self._running = store._running
        self._storage = store._storage
        self._deadline = store._deadline
        self._set_paused = store._set_paused
        self._found = store._found
        self._snapshots = store._snapshots
        self._projecting = Projecting(store._running, self._waits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close(None)

    def __repr__(self) -> str:
        return f"<Async{repr(self._store)[1:]}"

    async def _for_schema(self, name: str, *, init: bool, types: Types | None) -> Self:
        self._running()
        open_store = partial(self._store.for_schema, name, init=init, types=types)
        opening = OwnThread(open_store, "eventstore-connecting", self._waits.threads)
        store = await opening.result()
        return self._surfaces.setdefault(store, type(self)(store, self))

    async def _prepare(
        self,
        prepare: Callable[Concatenate[Codec, P], Append],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Append:
        """Check and encode an append: in a thread, if it has so many events that it takes long."""
        self._running()
        *_, last = args
        if isinstance(last, list | tuple) and len(last) > _MANY:
            return await self._waits.call(prepare, self._store._codec, *args, **kwargs)
        return prepare(self._store._codec, *args, **kwargs)

    async def _call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._running()  # a closed store has no threads, nor has one of before a fork
        return await self._waits.call(call, *args, **kwargs)

    async def _append(
        self,
        append: Append,
        timeout: float | None,
        connection: object | None = None,
        processed: Events | None = None,
    ) -> tuple[AppendResult, ...]:
        store, waits = self._store, self._waits
        deadline = store._append_deadline(timeout)
        runtime, joins = self._running(), store._joins
        if processed is not None:
            check_processed(processed, connection)
            return await process_append(runtime, store._codec, append, processed, deadline, waits)
        if connection is not None:
            return await joins.append(runtime, store._codec, append, connection, deadline, waits)
        await self._check_not_inside(deadline)
        try:
            return (await runtime.append_waiting(append, deadline, waits)).results
        except StoredOtherwiseError as refusal:
            stored = store._codec, self._storage(), deadline
            return await self._call(first_results, append, refusal, *stored)

    async def _link(
        self,
        link: Link,
        timeout: float | None,
        connection: object | None,
        processed: Events | None = None,
    ) -> LinkResult:
        store, runtime = self._store, self._running()
        deadline = store._append_deadline(timeout)
        if processed is not None:
            check_processed(processed, connection)
            return await process_link(runtime, link, processed, deadline, self._waits)
        if connection is not None:
            return await store._joins.link(runtime, link, connection, deadline, self._waits)
        await self._check_not_inside(deadline)
        return await self._call(runtime.storage.link, link, deadline)

    async def _delete(
        self, deletion: Deletion, timeout: float | None, connection: object | None
    ) -> None:
        store, runtime, waits = self._store, self._running(), self._waits
        deadline = store._append_deadline(timeout)
        if connection is not None:
            await store._joins.delete_stream(runtime, deletion, connection, deadline, waits)
        else:
            await self._check_not_inside(deadline)
            await self._call(store._delete_at_once, deletion, deadline)

    async def _record_snapshot(
        self,
        stream_id: str,
        stream_version: int,
        snapshot: SnapshotData,
        connection: object | None,
    ) -> bool:
        place = stream_id, stream_version, snapshot
        return await self._snapshots().record(*place, connection, self._waits)

    async def _delete_snapshot(
        self, stream_id: str, snapshot_type: str, connection: object | None
    ) -> bool:
        return await self._snapshots().delete(stream_id, snapshot_type, connection, self._waits)

    async def _append_series(self, items: Iterable[tuple[str, EventData]], batch_size: int) -> int:
        # Here, not in the tasks that append.
        await self._check_not_inside(self._store._append_deadline(None))
        series = self._store._series(items, batch_size)
        begin = asyncio.ensure_future
        return await append_runs(series, lambda run: begin(self._append(run, None)), self._waits)

    async def _check_not_inside(self, deadline: float) -> None:
        """Refuse what would wait for a transaction of this very task."""
        joins = self._store._joins
        if joins.are_used:
            await joins.check_not_inside(self._running(), deadline, self._waits)

    async def _read(
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
        read = partial(self._store._read, raw=raw, missing_ok=missing_ok)
        return await self._call(read, stream_id, start, count, direction, only)

    def _iterate(
        self,
        stream_id: str,
        start: int,
        batch_size: int,
        direction: ReadDirection,
        only: FilterKeywords,
        *,
        raw: bool,
    ) -> AsyncIterator[RecordedEvent]:
        pages = self._store._pages(stream_id, start, batch_size, direction, only)
        return _LazyEvents(pages, self._store._decoding(raw=raw), self._waits)

    def _follow(
        self,
        stream_id: str,
        begin: Literal["origin", "current"] | int,
        batch_size: int,
        idle_timeout: float | None,
        only: FilterKeywords,
        *,
        raw: bool,
    ) -> AsyncFollower:
        start, settings = self._store._following(
            stream_id, begin, batch_size, idle_timeout, only, raw=raw
        )
        return self._store._followers.add(AsyncFollower(settings, start, self._waits))

    async def _subscribe(
        self,
        key: tuple[str, str],
        subscriber: AsyncReceiver,
        options: SubscriptionOptions,
        subscription_id: int | None = None,
    ) -> AsyncSubscription:
        """Subscribe; a caller who is cancelled meanwhile leaves no subscription behind."""
        self._running()
        receiver: Any = subscriber
        if is_coroutine_function(subscriber):
            receiver = CoroutineHandler(subscriber, self._waits)
        subscribe = partial(self._store._subscribe, key, receiver, options, subscription_id)
        subscribing = OwnThread(
            subscribe, "eventstore-subscribing", self._waits.threads, undo=_unsubscribe
        )
        return AsyncSubscription(await subscribing.result(), self._waits)

    async def _waited(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return await coroutine

    async def _wait_for(
        self, key: tuple[str, str], awaited: Awaited | None, timeout: float
    ) -> None:
        await self._store._reached(key, awaited, timeout, self._waits)

    async def _close(self, timeout: float | None) -> None:
        """Close the store, in a thread of its own: those for calls may all be busy."""
        # Before the thread runs, which forgets the stores whose handler this may be.
        is_called_by_handler = self._is_called_by_handler()
        closing = OwnThread(partial(self._close_in_thread, timeout), "eventstore-close", Threads())
        # A handler is waited for, so it must not wait itself.
        if not is_called_by_handler:
            await closing.result()

    def _close_in_thread(self, timeout: float | None) -> None:
        allowed = self._store.config.stop_timeout if timeout is None else timeout
        deadline = time.monotonic() + allowed
        try:
            self._store.close(allowed)
        finally:
            self._surfaces.pop(self._store, None)
            if self._is_first:
                # Not earlier: the handlers that close waits for may read.
                self._waits.close(deadline)

    def _is_called_by_handler(self) -> bool:
        handled = HANDLED.get()
        if handled is None:
            return False
        key = handled.stream_id, handled.subscription_name
        store = self._store
        closing = [store._own_runtime(), *store._schemas.ended_by(store)]
        return any(runtime.subscription(*key) is handled for runtime in closing)

    async def _join(
        self,
        timeout: float | None,
        *,
        any: bool,  # noqa: A002 - as in `join`
        signals: bool,
    ) -> None:
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        has_stopped = partial(self._store._own_runtime().wait_stopped, any_subscription=any)
        with self._closing_on_signals() if signals else nullcontext():
            while not has_stopped(0):
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"the store still runs after {timeout} s")
                await asyncio.sleep(_LOOK)

    @contextmanager
    def _closing_on_signals(self) -> Iterator[None]:
        """Close the store at the first SIGTERM or SIGINT; the second finds no handler of ours."""
        loop, numbers = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
        closing: list[asyncio.Task[None]] = []

        def restore() -> None:
            for number in numbers:
                loop.remove_signal_handler(number)

        def close() -> None:
            restore()
            closing.append(loop.create_task(self._close(None)))

        for number in numbers:
            loop.add_signal_handler(number, close)
        try:
            yield
        finally:
            restore()


def _unsubscribe(subscription: Subscription) -> None:
    subscription.unsubscribe()


class _LazyEvents(AsyncIterator[RecordedEvent]):
    """The events of pages, one page in memory."""

    def __init__(self, pages: Pages, decode: Decode, waits: LoopWaits) -> None:
        self._pages = pages
        self._decode = decode
        self._waits = waits
        self._ready = deque[Decoded]()

    async def __anext__(self) -> RecordedEvent:
        if not self._ready:
            # Only what a step has got is gone past: a cancelled one leaves nothing out.
            page, events = await self._waits.call(self._read)
            if not events:
                raise StopAsyncIteration
            self._pages.go_past(page)
            self._ready.extend(events)
        return self._ready.popleft().get()

    def _read(self) -> tuple[Examined, list[Decoded]]:
        page = self._pages.read()
        return page, decoded(page.events, self._decode)


_Store = TypeVar("_Store", bound=CoroutineCalls)


class Connecting(Awaitable[_Store]):
    """A connection that is being made: await it, or enter it with ``async with``."""

    def __init__(
        self, open_store: Callable[[], EventStore], made: Callable[[EventStore], _Store]
    ) -> None:
        self._open_store = open_store
        self._made = made
        self._store: _Store | None = None

    def __await__(self) -> Generator[Any, None, _Store]:
        return self._connect().__await__()

    async def __aenter__(self) -> _Store:
        self._store = await self
        return self._store

    async def __aexit__(self, *_: object) -> None:
        assert self._store is not None
        await self._store._close(None)

    async def _connect(self) -> _Store:
        opening = OwnThread(
            self._open_store, "eventstore-connecting", Threads(), undo=EventStore.close
        )
        return self._made(await opening.result())
