"""Cancelled calls: each call is cancelled at each of its awaits, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
import time
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4
from weakref import ref

import psycopg
import pytest

from eventstore import (
    AsyncEventStore,
    AsyncSubscription,
    Config,
    EventData,
    Events,
    EventStore,
    ExpectedVersion,
    JsonSerializer,
    Projection,
    SnapshotData,
    SubscriptionLostError,
    SubscriptionState,
)
from eventstore.model.deliveries import DeliveryRun
from eventstore.ports.effects import Batch
from eventstore.ports.ownership import Fence
from tests.conftest import ONLOOKER
from tests.coroutines.conftest import connected, numbered, threads, until
from tests.coroutines.test_handlers import Run
from tests.support.waiting import AGES, PATIENCE

ANY = ExpectedVersion.ANY


@types.coroutine
def cancelled_at(number: int, call: Awaitable[Any]) -> Generator[Any, Any, Any]:
    """Await *call*, and cancel it at its await of this number, from 0.

    Raises:
        EOFError: It has fewer awaits.
    """
    steps = call.__await__()
    awaited = 0
    resume: Callable[[], Any] = lambda: steps.send(None)  # noqa: E731
    while True:
        try:
            found = resume()
        except StopIteration as end:
            if awaited <= number:
                raise EOFError(end.value) from None
            return end.value
        if awaited == number:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        awaited += 1
        try:
            sent = yield found
        except BaseException as error:  # noqa: BLE001 - for the call
            resume = lambda error=error: steps.throw(error)  # type: ignore[misc]  # noqa: E731
        else:
            resume = lambda sent=sent: steps.send(sent)  # type: ignore[misc]  # noqa: E731


async def handle(_events: Events) -> None: ...


async def _entered(store: AsyncEventStore) -> None:
    config = store.config
    async with AsyncEventStore.connect(config):
        pass


async def _all_of(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


CALLS: dict[str, Callable[[AsyncEventStore], Awaitable[Any]]] = {
    "append": lambda store: store.append_to_stream("a", ANY, numbered(1, 1)),
    "append to several": lambda store: store.append_to_streams(
        [("a", ANY, numbered(1, 1)), ("b", ANY, numbered(2, 2))]
    ),
    "append in a transaction": lambda store: _in_transaction(store),  # noqa: PLW0108 - below
    "append for a batch": lambda store: _processed(store),  # noqa: PLW0108 - defined below
    "wake": lambda store: store.wake(),
    "append a series": lambda store: store.append_many(
        [("a", event) for event in numbered(1, 5)], batch_size=2
    ),
    "link": lambda store: _linked(store),  # noqa: PLW0108 - defined below
    "delete": lambda store: _deleted(store),  # noqa: PLW0108 - defined below
    "read": lambda store: store.read_stream_forward("a"),
    "read all": lambda store: store.read_all_streams_backward(),
    "iterate": lambda store: _all_of(store.stream_forward("a", batch_size=1)),
    "follow": lambda store: _all_of(store.follow_all("current", idle_timeout=0.05)),
    "read what matches": lambda store: store.read_all_streams_forward(event_types="Numbered"),
    "iterate over what matches": lambda store: _all_of(
        store.stream_all_backward(batch_size=1, metadata={"user": "nobody"})
    ),
    "follow what matches": lambda store: _all_of(
        store.follow_all(idle_timeout=0.05, stream_prefix="a")
    ),
    "state of a stream": lambda store: store.stream_info("a"),
    "streams": lambda store: store.streams(),
    "event by id": lambda store: store.find_event(uuid4()),
    "record a snapshot": lambda store: store.record_snapshot("a", 1, SnapshotData("T", 1)),
    "read a snapshot": lambda store: store.read_snapshot("a", "T"),
    "read from a snapshot": lambda store: store.read_stream_from_snapshot("a", "T"),
    "delete a snapshot": lambda store: store.delete_snapshot("a", "T"),
    "health": lambda store: store.health(),
    "subscribe": lambda store: store.subscribe_to_stream("a", "new", handle),
    "subscriptions": lambda store: store.subscriptions(),
    "pause": lambda store: store.pause_subscription("$all", "s"),
    "resume": lambda store: store.resume_subscription("$all", "s"),
    "parked": lambda store: store.parked("$all", "s"),
    "retry parked": lambda store: store.retry_parked("$all", "s"),
    "skip parked": lambda store: store.skip_parked("$all", "s", reason="of no use"),
    "projections": lambda store: store.projections(over=0.01),
    "project": lambda store: _projected(store),  # noqa: PLW0108 - defined below
    "change a projection": lambda store: _changed(store),  # noqa: PLW0108 - defined below
    "reset": lambda store: store.reset_subscription("$all", "s", 0),
    "wait for": lambda store: _waited_for(store),  # noqa: PLW0108 - defined below
    "connect": _entered,
}


async def _linked(store: AsyncEventStore) -> None:
    await store.link_to_stream("linked", ANY, await store.read_stream_forward("a"))


async def _deleted(store: AsyncEventStore) -> None:
    name = f"doomed-{uuid4()}"
    await store.append_to_stream(name, 0, numbered(1, 1))
    await store.delete_stream(name, 1)


async def _in_transaction(store: AsyncEventStore) -> None:
    if store.config.dsn.startswith("memory:"):
        await store.stream_count()  # a store in memory has none
        return
    async with await psycopg.AsyncConnection.connect(store.config.dsn) as mine:
        await store.append_to_stream("a", ANY, numbered(1, 1), connection=mine)
        await mine.rollback()


async def _processed(store: AsyncEventStore) -> None:
    if store.config.dsn.startswith("memory:"):
        await store.stream_count()  # a store in memory waits for nothing
        return
    run: Any = DeliveryRun(ref(store._store._storage()), "$all", "s", 1)
    of_another_owner = Batch(Fence(1, uuid4(), 1), 0, 0, 1)
    batch = Events(run, [], 1, run, batch=of_another_owner)
    with suppress(SubscriptionLostError):
        await store.append_to_stream("a", ANY, numbered(1, 1), processed=batch)


async def _projected(store: AsyncEventStore) -> AsyncSubscription | None:
    if store.config.dsn.startswith("memory:"):
        await store.projections()  # a store in memory has none
        return None
    return await store.project(Projection(f"p-{uuid4()}", 1, project, create=nothing))


async def _changed(store: AsyncEventStore) -> None:
    if store.config.dsn.startswith("memory:"):
        await store.projections()
        return
    projection = Projection(f"p-{uuid4()}", 1, project, create=nothing, drop=nothing)
    await store._projecting.create(projection)
    await store.switch_projection(projection, force=True)
    await store.rebuild_projection(projection, force=True)
    await store.drop_projection(projection, force=True)


async def project(_events: Events, _connection: Any) -> None: ...


async def nothing(_connection: Any) -> None: ...


async def _waited_for(store: AsyncEventStore) -> None:
    [newest] = await store.read_all_streams_backward(count=1)
    await store.wait_for("$all", "s", newest, PATIENCE)


async def _begin_threads(store: AsyncEventStore) -> None:
    """Begin every thread that calls of *store* may need: those of reads, and all for calls."""
    await store.stream_count()
    together = threading.Barrier(store._waits._pool._max_workers)
    calls = [store._waits.call(together.wait, PATIENCE) for _ in range(together.parties)]
    await asyncio.gather(*calls)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_cancelled_at_any_await_leaves_nothing_behind(
    config: Config, run: Run, name: str
) -> None:
    """G42: no task, no thread, no connection, no place in the queue."""

    async def main() -> None:
        async with connected(config) as store:
            await store.append_to_stream("a", 0, numbered(1, 3))
            subscription = await store.subscribe_to_all_streams("s", handle)
            await _begin_threads(store)
            tasks, before = asyncio.all_tasks(), threads()
            number, was_cancelled = 0, 0
            while True:
                try:
                    await cancelled_at(number, CALLS[name](store))
                except asyncio.CancelledError:
                    task = asyncio.current_task()
                    assert task is not None
                    task.uncancel()
                    was_cancelled += 1
                except EOFError as end:
                    if isinstance(end.args[0], AsyncSubscription):
                        await end.args[0].unsubscribe()
                    break
                await until(lambda: asyncio.all_tasks() <= tasks)
                # What a cancelled call subscribed is unsubscribed, a little later.
                await until(lambda: threads() <= before)
                number += 1
            assert was_cancelled == number > 0
            await until(lambda: threads() <= before)
            await until(lambda: store._store.health().queued_appends == 0)
            # Nothing was used up: as much at once as ever.
            await asyncio.gather(*[store.read_stream_forward("a") for _ in range(40)])
            await store.resume_subscription("$all", "s")
            last = await store.append_to_stream("a", ANY, numbered(9, 9))
            await subscription.wait_for(last, PATIENCE)
            names = {each.subscription_name for each in (await store.health()).subscriptions}
            assert names == {"s"}

    run(main)


def test_a_schema_whose_opening_was_cancelled_is_opened_by_the_next_call(
    config: Config, run: Run, pytestconfig: pytest.Config
) -> None:
    """G42, G26: whatever has come of it, the first store closes it."""
    names: list[str] = []

    async def main() -> None:
        async with connected(config) as store:
            with suppress(EOFError):
                while True:
                    names.append(f"{config.schema}_{len(names)}")
                    opening = store.for_schema(names[-1], init=True)
                    with suppress(asyncio.CancelledError):
                        await cancelled_at(len(names) - 1, opening)
                    task = asyncio.current_task()
                    assert task is not None
                    task.uncancel()
            assert len(names) > 1
            for name in names:
                beside = await store.for_schema(name, init=True)
                assert beside is await store.for_schema(name)
                result = await beside.append_to_stream("a", 0, numbered(1, 1))
                assert result.last_global_position == 1
        await until(lambda: not threads())

    run(main)
    if not config.dsn.startswith("memory:"):
        for name in names:
            pytestconfig.stash[ONLOOKER].drop_schema(name)


def test_a_cancelled_append_says_whether_it_may_be_stored(config: Config, run: Run) -> None:
    """G42, G5: repeating it with the same ids tells."""

    async def main() -> None:
        async with connected(config) as store:
            event = EventData("Repeated", {})
            append = asyncio.ensure_future(store.append_to_stream("a", 0, [event]))
            await asyncio.sleep(0)
            append.cancel()
            with pytest.raises(asyncio.CancelledError) as cancelled:
                await append
            [note] = cancelled.value.__notes__
            assert "stored" in note
            await until(lambda: store._store.health().queued_appends == 0)
            result = await store.append_to_stream("a", 0, [event])
            assert result.last_version == 1
            assert result.repeated or "will not be stored" in note
            assert len(await store.read_stream_forward("a")) == 1

    run(main)


def test_a_cancelled_append_keeps_no_other_from_its_answer(config: Config, run: Run) -> None:
    """G42: they share one commit and one callback."""

    async def main() -> None:
        async with connected(config) as store:
            for turn in range(20):
                appends = [
                    asyncio.ensure_future(store.append_to_stream(f"{turn}-{n}", 0, numbered(n, n)))
                    for n in range(50)
                ]
                await asyncio.sleep(0)
                for append in appends[::7]:
                    append.cancel()
                results = await asyncio.gather(*appends, return_exceptions=True)
                answered = [each for each in results if not isinstance(each, BaseException)]
                assert len(answered) == 50 - len(appends[::7])
            assert (await store.health()).queued_appends == 0

    run(main)


def test_a_timeout_of_asyncio_works(config: Config, run: Run) -> None:
    """G42."""

    async def main() -> None:
        async with connected(config) as store:
            await store.append_to_stream("a", 0, numbered(1, 1))
            subscription = await store.subscribe_to_all_streams("s", handle)
            await until(lambda: subscription.state is SubscriptionState.LIVE)
            for call in (store.join(), subscription.join(), anext(store.follow_stream("none"))):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await call

    run(main)


@pytest.mark.parametrize("way", ["iterate", "follow"])
def test_an_iteration_that_is_cancelled_goes_on_without_a_gap(
    config: Config, run: Run, way: str
) -> None:
    """G11, G42: a step that was cancelled is made again."""

    async def main() -> None:
        async with connected(config) as store:
            await store.append_to_stream("a", 0, numbered(1, 30))
            events = (
                store.stream_forward("a", batch_size=2)
                if way == "iterate"
                else store.follow_stream("a", batch_size=2, idle_timeout=PATIENCE)
            )
            found: list[int] = []
            step = 0
            while len(found) < 30:
                step += 1
                try:
                    event = await cancelled_at(step % 2, anext(events))
                except asyncio.CancelledError:
                    task = asyncio.current_task()
                    assert task is not None
                    task.uncancel()
                except EOFError as end:
                    [event] = end.args
                    found.append(event.data["event"])
                else:
                    found.append(event.data["event"])
            assert found == list(range(1, 31))

    run(main)


def test_a_close_that_is_cancelled_goes_on(config: Config, run: Run) -> None:
    """G26, G42."""

    async def main() -> None:
        store = await AsyncEventStore.connect(config, init=True)
        await store.subscribe_to_all_streams("s", handle)
        with suppress(EOFError, asyncio.CancelledError):
            await cancelled_at(0, store.close())
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        await store.join(PATIENCE)
        await until(lambda: not threads())

    run(main)


def test_a_close_waits_for_a_call_that_was_cancelled(config: Config, run: Run) -> None:
    """G26, G42: a thread cannot be cancelled, so its call runs to its end."""
    serializer = SlowToRead()

    async def main() -> None:
        async with connected(replace(config, serializer=serializer)) as store:
            await store.append_to_stream("a", ANY, numbered(1, 1))
            reading = asyncio.ensure_future(store.read_stream_forward("a"))
            await until(lambda: serializer.begun)
            reading.cancel()
        assert serializer.ended == 1

    run(main)


class SlowToRead(JsonSerializer):
    """Blocks the thread that reads."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = self.ended = 0

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        self.begun += 1
        time.sleep(0.2)
        self.ended += 1
        return super().deserialize(payload, payload_type)


def test_a_connect_that_is_cancelled_closes_what_it_opened(config: Config, run: Run) -> None:
    """G42."""
    with EventStore.connect(config, init=True):
        before = threads()

        async def main() -> None:
            connecting = asyncio.ensure_future(_connect(config))
            await asyncio.sleep(0)  # it has begun, and nothing of it can have arrived here yet
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            await until(lambda: threads() <= before)

        run(main)


async def _connect(config: Config) -> AsyncEventStore:
    return await AsyncEventStore.connect(config)


def test_a_hung_handler_is_cancelled_by_the_close(config: Config, run: Run) -> None:
    """G26, G42."""

    async def main() -> None:
        started, cancelled = asyncio.Event(), asyncio.Event()

        async def hang(_events: Events) -> None:
            started.set()
            try:
                await asyncio.sleep(AGES)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        store = await AsyncEventStore.connect(config, init=True)
        await store.subscribe_to_all_streams("s", hang)
        await store.append_to_stream("a", 0, numbered(1, 1))
        await started.wait()
        await store.close(0.1)
        assert cancelled.is_set()

    run(main)
