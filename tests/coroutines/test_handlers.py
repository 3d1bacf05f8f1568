"""Coroutine functions as subscribers: on their loop, one batch at a time, and how they end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from eventstore import (
    AsyncEventStore,
    Config,
    DeliveryTimeoutError,
    Events,
    EventStore,
    ExpectedVersion,
    NotRunningError,
    Retry,
    SubscriptionLostError,
    SubscriptionState,
)
from tests.coroutines.conftest import connected, numbered, until
from tests.support.waiting import AGES, PATIENCE

Run = Callable[[Callable[[], Any]], Any]

OVERDUE = 0.6
"""Seconds of an `ack_timeout` in which a loop on a busy machine cancels a handler, or calls one
that does not wait."""


def numbers(events: Events) -> list[int]:
    return [event.data["event"] for event in events]


def test_it_runs_on_the_loop_that_subscribed_one_batch_at_a_time(config: Config, run: Run) -> None:
    """G42, G19, G14: in order, each batch after the one before has ended."""

    async def main() -> None:
        received: list[int] = []
        running = 0

        async def handle(events: Events) -> None:
            nonlocal running
            running += 1
            assert running == 1
            assert threading.current_thread() is threading.main_thread()
            await asyncio.sleep(0.001)
            received.extend(numbers(events))
            running -= 1

        async with connected(config) as store:
            await store.append_to_stream("a", 0, numbered(1, 20))
            subscription = await store.subscribe_to_all_streams("s", handle, max_batch_size=3)
            last = await store.append_to_stream("a", 20, numbered(21, 30))
            await subscription.wait_for(last, PATIENCE)
            assert received == list(range(1, 31))
            assert subscription.checkpoint == 30

    run(main)


def test_a_handler_that_never_waits_leaves_turns_to_others(config: Config, run: Run) -> None:
    """G42: also while it catches up."""

    async def main() -> None:
        turns: list[int] = []
        received = 0

        async def handle(events: Events) -> None:
            nonlocal received
            received += len(events)
            turns.append(0)

        async def count() -> None:
            while received < 1_000:
                await asyncio.sleep(0)
                if turns:
                    turns[-1] += 1

        async with connected(config) as store:
            last = await store.append_to_stream("a", 0, numbered(1, 1_000))
            subscription = await store.subscribe_to_all_streams("s", handle, max_batch_size=1)
            await asyncio.gather(count(), subscription.wait_for(last, PATIENCE))
        assert len(turns) == 1_000
        assert sum(bool(turn) for turn in turns) > 500

    run(main)


class Receiver:
    """An object whose call is a coroutine."""

    def __init__(self) -> None:
        self.received: list[int] = []

    async def __call__(self, events: Events) -> None:
        self.received += numbers(events)

    async def method(self, _first: str, events: Events) -> None:
        self.received += numbers(events)


@pytest.mark.parametrize("kind", ["object", "method", "plain"])
def test_what_else_can_subscribe(config: Config, run: Run, kind: str) -> None:
    async def main() -> None:
        receiver = Receiver()
        subscriber: Any = receiver
        if kind == "method":
            subscriber = partial(receiver.method, "first")
        if kind == "plain":
            # In a thread, as with `EventStore`.
            def subscriber(events: Events) -> None:
                assert threading.current_thread() is not threading.main_thread()
                receiver.received += numbers(events)

        async with connected(config) as store:
            last = await store.append_to_stream("a", 0, numbered(1, 3))
            subscription = await store.subscribe_to_stream("a", "s", subscriber)
            await subscription.wait_for(last, PATIENCE)
            assert receiver.received == [1, 2, 3]

    run(main)


def test_an_error_is_a_failed_attempt(config: Config, run: Run) -> None:
    """G42, G13, G30."""

    async def main() -> None:
        calls: list[list[int]] = []

        async def handle(events: Events) -> Any:
            calls.append(numbers(events))
            await asyncio.sleep(0)
            if len(calls) == 1:
                raise SystemExit("not today")
            return "done" if len(calls) == 2 else None

        async with connected(config) as store:
            last = await store.append_to_stream("a", 0, numbered(1, 1))
            subscription = await store.subscribe_to_all_streams(
                "s", handle, on_error=Retry(first=0.01)
            )
            await subscription.wait_for(last, PATIENCE)
            assert calls == [[1], [1], [1]]

    run(main)


def test_one_that_takes_too_long_is_cancelled_and_called_again(config: Config, run: Run) -> None:
    """G42, G21: each time."""

    async def main() -> None:
        cancelled = 0

        async def handle(_events: Events) -> None:
            nonlocal cancelled
            if cancelled < 2:
                try:
                    await asyncio.sleep(AGES)
                except asyncio.CancelledError:
                    cancelled += 1
                    raise

        async with connected(config) as store:
            last = await store.append_to_stream("a", 0, numbered(1, 2))
            subscription = await store.subscribe_to_all_streams(
                "s", handle, ack_timeout=OVERDUE, on_error=Retry(first=0.01)
            )
            await until(lambda: isinstance(subscription.last_error, TimeoutError))
            await subscription.wait_for(last, PATIENCE)
            assert cancelled == 2

    run(main)


def test_an_event_over_which_it_always_takes_too_long_is_parked(config: Config, run: Run) -> None:
    """G38, G42: that is no outage."""

    async def main() -> None:
        async def handle(events: Events) -> None:
            if numbers(events) == [1]:
                await asyncio.sleep(AGES)

        async with connected(config) as store:
            for number in (1, 2):
                await store.append_to_stream(f"s-{number}", 0, numbered(number, number))
            retry = Retry(first=0.01, longest=0.01, attempts=2, then="park")
            subscription = await store.subscribe_to_all_streams(
                "s", handle, ack_timeout=OVERDUE, max_batch_size=1, on_error=retry
            )
            await subscription.wait_for(2, PATIENCE)
            assert [each.position for each in await store.parked("$all", "s")] == [1]

    run(main)


def test_one_that_swallows_its_cancellation_is_given_up(config: Config, run: Run) -> None:
    """G42, G21: released, so that a successor goes on, and never run twice at once here."""

    async def main() -> None:
        calls: list[list[int]] = []
        go_on = asyncio.Event()

        async def hang(events: Events) -> None:
            calls.append(numbers(events))
            while not go_on.is_set():
                try:
                    await go_on.wait()
                except asyncio.CancelledError:
                    continue

        received: list[int] = []

        async def handle(events: Events) -> None:
            received.extend(numbers(events))

        async with connected(config) as store, connected(config) as other:
            last = await store.append_to_stream("a", 0, numbered(1, 3))
            subscription = await store.subscribe_to_all_streams("s", hang, ack_timeout=0.1)
            await until(lambda: subscription.state is SubscriptionState.STOPPED)
            with pytest.raises(DeliveryTimeoutError):
                await subscription.join()
            successor = await other.subscribe_to_all_streams("s", handle)
            await successor.wait_for(last, PATIENCE)
            assert (calls, received) == ([[1, 2, 3]], [1, 2, 3])
            go_on.set()
            await asyncio.sleep(0.05)
            assert subscription.checkpoint == 0

    run(main)


def test_it_may_close_its_store(config: Config, run: Run) -> None:
    """G26, G42: without a wait for itself; what it returned counts."""

    async def main() -> None:
        closed = asyncio.Event()

        async with connected(config) as store, connected(config) as other:

            async def handle(_events: Events) -> None:
                # Also from a task of its own.
                await asyncio.gather(store.close(PATIENCE))
                closed.set()

            await store.subscribe_to_all_streams("s", handle)
            await other.append_to_stream("a", 0, numbered(1, 1))
            async with asyncio.timeout(PATIENCE):
                await closed.wait()
                await store.join()
            info = await other.subscription_info("$all", "s")
            assert (info.checkpoint, info.owner) == (1, None)
            with pytest.raises(NotRunningError):
                await store.read_all_streams_forward()

    run(main)


def test_it_may_read_while_its_store_closes(config: Config, run: Run) -> None:
    """G26, G42: it is waited for, so what it does must work."""

    async def main() -> None:
        started, go_on = asyncio.Event(), asyncio.Event()
        read: list[int] = []

        async def handle(_events: Events) -> None:
            started.set()
            await go_on.wait()
            read.extend(event.position for event in await store.read_all_streams_forward())

        async with connected(config) as store:
            await store.append_to_stream("a", 0, numbered(1, 3))
            await store.subscribe_to_all_streams("s", handle)
            await started.wait()
            closing = asyncio.ensure_future(store.close())
            await asyncio.sleep(0.1)
            go_on.set()
            await closing
        assert read == [1, 2, 3]

    run(main)


def test_it_may_end_its_subscription(config: Config, run: Run) -> None:
    """G42."""

    async def main() -> None:
        async with connected(config) as store:

            async def handle(_events: Events) -> None:
                await subscription.unsubscribe()

            subscription = await store.subscribe_to_all_streams("s", handle)
            await store.append_to_stream("a", 0, numbered(1, 1))
            await subscription.join(PATIENCE)
            await until(lambda: subscription.state is SubscriptionState.STOPPED)
            assert (await store.subscription_info("$all", "s")).checkpoint == 1

    run(main)


def test_a_closed_loop_is_a_dead_subscriber(config: Config) -> None:
    """G42: nothing of it raises in an actor, and others go on."""
    with EventStore.connect(config, init=True) as keeper:
        loop = asyncio.new_event_loop()
        store: AsyncEventStore = loop.run_until_complete(_connect(config))

        async def handle(_events: Events) -> None: ...

        subscription = loop.run_until_complete(store.subscribe_to_all_streams("s", handle))
        unanswered = loop.create_task(store.append_to_stream("a", 0, numbered(1, 1)))
        loop.call_soon(loop.stop)
        loop.run_forever()  # one turn: it is sent, and no answer arrives
        assert not unanswered.done()
        loop.close()
        # The same actors, used from another loop.
        received: list[int] = []

        async def go_on() -> None:
            async def handle(events: Events) -> None:
                received.extend(numbers(events))

            last = await store.append_to_stream("b", 0, numbered(2, 2))
            await until(lambda: subscription.state is SubscriptionState.STOPPED)
            with pytest.raises(SubscriptionLostError, match="subscriber died"):
                await subscription.join()
            health = await store.health()
            assert (health.running, health.restarts, health.queued_appends) == (True, 0, 0)
            again = await store.subscribe_to_all_streams("s", handle)
            await again.wait_for(last, PATIENCE)
            await store.close()

        asyncio.run(go_on())
        assert sorted(received) == [1, 2]
        assert keeper.stream_info("a").stream_version == 1
        unanswered._log_destroy_pending = False  # type: ignore[attr-defined]


async def _connect(config: Config) -> AsyncEventStore:
    return await AsyncEventStore.connect(config)


def test_the_end_of_the_loop_ends_a_handler_that_runs(config: Config) -> None:
    """G42: asyncio.run cancels it, and the store still closes at once."""
    cancelled = []

    async def main() -> AsyncEventStore:
        store = await AsyncEventStore.connect(config, init=True)
        started = asyncio.Event()

        async def handle(_events: Events) -> None:
            started.set()
            try:
                await asyncio.sleep(AGES)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        await store.subscribe_to_all_streams("s", handle)
        await store.append_to_stream("a", ExpectedVersion.ANY, numbered(1, 1))
        await started.wait()
        return store

    store = asyncio.run(main())
    assert cancelled == [True]
    asyncio.run(store.close())


@pytest.mark.parametrize("option", ["selector", "mapper"])
def test_selector_and_mapper_are_plain_functions(config: Config, run: Run, option: str) -> None:
    async def main() -> None:
        async def promise(_event: Any) -> bool:
            return True

        async def handle(_events: Events) -> None: ...

        async with connected(config) as store:
            options: Any = {option: promise}
            with pytest.raises(TypeError, match=f"{option} cannot be"):
                await store.subscribe_to_all_streams("s", handle, **options)

    run(main)
