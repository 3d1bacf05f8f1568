"""What an event costs coroutines of one loop, in a store of a known size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from benchmarks.contenders.load import ALL, events
from benchmarks.workloads.growth_case import APPENDS, CALLERS, PER_APPEND, TIMEOUT, Cost, Filled
from eventstore import Events, ExpectedVersion

__all__ = ["COSTS_IN_LOOP"]


def _in_a_loop(measured: Callable[[Filled, float], Awaitable[float]]) -> Cost:
    async def run(filled: Filled, seconds: float) -> float:
        return await measured(filled, seconds)

    return lambda filled, seconds: asyncio.run(run(filled, seconds))


async def _append(filled: Filled, _: float) -> float:
    """Append to random streams, from a few tasks."""

    async def append_some() -> None:
        for _ in range(APPENDS):
            more = events(PER_APPEND)
            await filled.in_loop.append_to_stream(filled.some_stream(), ExpectedVersion.ANY, more)

    begun = time.perf_counter()
    await asyncio.gather(*[append_some() for _ in range(CALLERS)])
    return (time.perf_counter() - begun) / (CALLERS * APPENDS * PER_APPEND)


async def _read_stream(filled: Filled, seconds: float) -> float:
    """Read whole random streams."""
    count = filled.per_stream

    async def read() -> int:
        return len(await filled.in_loop.read_stream_forward(filled.some_stream(), count=count))

    return await _repeated(read, seconds)


async def _read_all(filled: Filled, seconds: float) -> float:
    """Read pages from random positions."""

    async def read() -> int:
        start = filled.some_position(filled.page) + 1
        return len(await filled.in_loop.read_all_streams_forward(start, filled.page))

    return await _repeated(read, seconds)


async def _repeated(read: Callable[[], Awaitable[int]], seconds: float) -> float:
    begun, found = time.perf_counter(), 0
    while not found or time.perf_counter() < begun + seconds:
        found += await read()
    return (time.perf_counter() - begun) / found


async def _catch_up(filled: Filled, _: float) -> float:
    """Catch up from a random position, acknowledging each batch."""
    number = filled.caught_up
    start = filled.some_position(number)
    [last] = await filled.in_loop.read_all_streams_forward(start + number, 1)
    name = f"catch-up-{uuid4()}"
    begun = time.perf_counter()
    subscription = await filled.in_loop.subscribe_to_all_streams(
        name, _acknowledge, start_from=start, batch_by="any"
    )
    await subscription.wait_for(last, TIMEOUT)
    taken = time.perf_counter() - begun
    await subscription.unsubscribe()
    await filled.in_loop.delete_subscription(ALL, name)
    return taken / number


async def _acknowledge(_: Events) -> None: ...


COSTS_IN_LOOP: dict[str, Cost] = {
    "read a stream": _in_a_loop(_read_stream),
    "read all streams": _in_a_loop(_read_all),
    "catch up": _in_a_loop(_catch_up),
    "append": _in_a_loop(_append),
}
