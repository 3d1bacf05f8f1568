"""Live: appends and coroutine functions that receive them, all of them in one loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from benchmarks.contenders.load import EVENT_TYPE, new_stream
from benchmarks.measuring.workload import Measurement, Round
from benchmarks.workloads.live_case import PER_SECOND, TIMEOUT, WRITERS, Live, measurement, stamped
from eventstore import (
    AsyncEventStore,
    AsyncSubscription,
    EventData,
    Events,
    ExpectedVersion,
    SubscriptionState,
)

__all__ = ["live_in_loop"]

Append = Callable[[float], Awaitable[None]]
"""Appends one event that carries the moment of the call."""


def live_in_loop(store: AsyncEventStore, case: Live, _: Round) -> Measurement:
    """Measure until the subscribers have every event; without subscribers, until the answer."""
    return asyncio.run(_live(store, case) if case.subscriptions else _alone(store, case))


async def _alone(store: AsyncEventStore, case: Live) -> Measurement:
    latencies: list[float] = []

    async def append(moment: float) -> None:
        await _append(store, moment)
        latencies.append(time.perf_counter() - moment)

    cpu = time.process_time()
    await _append_all(append, case)
    return measurement(case, latencies, time.process_time() - cpu)


async def _live(store: AsyncEventStore, case: Live) -> Measurement:
    latencies: list[float] = []

    async def note(events: Events) -> None:
        now = time.perf_counter()
        latencies.extend([now - event.data["at"] for event in events])

    subscriptions = [
        await store.subscribe_to_all_streams(f"live-{uuid4()}", note, start_from="current")
        for _ in range(case.subscriptions)
    ]
    await _until_live(subscriptions)
    cpu = time.process_time()
    await _append_all(lambda moment: _append(store, moment), case)
    [last] = await store.read_all_streams_backward(count=1)
    for subscription in subscriptions:
        await subscription.wait_for(last, TIMEOUT)
    cpu = time.process_time() - cpu
    for subscription in subscriptions:
        await subscription.unsubscribe()
    return measurement(case, latencies, cpu)


async def _until_live(subscriptions: list[AsyncSubscription]) -> None:
    while any(one.state is not SubscriptionState.LIVE for one in subscriptions):
        await asyncio.sleep(0.01)


async def _append(store: AsyncEventStore, moment: float) -> None:
    event = EventData(EVENT_TYPE, stamped(moment))
    await store.append_to_stream(new_stream(), ExpectedVersion.NO_STREAM, [event])


async def _append_all(append: Append, case: Live) -> None:
    if case.loaded:
        each = case.appends // WRITERS
        await asyncio.gather(*[_one_after_the_other(each, append) for _ in range(WRITERS)])
    else:
        await _evenly(case.appends, append)


async def _one_after_the_other(number: int, append: Append) -> None:
    for _ in range(number):
        await append(time.perf_counter())


async def _evenly(number: int, append: Append) -> None:
    """Append at an even pace; the latency of a late append counts from when it was due."""
    start = time.perf_counter()
    for place in range(number):
        due = start + place / PER_SECOND
        late = time.perf_counter() >= due
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await append(due if late else time.perf_counter())
