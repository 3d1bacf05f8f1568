"""This store as an asyncio service uses it: its facade for coroutines, all callers in one loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, cycle
from typing import ClassVar, Self

from benchmarks.contenders.contender import Load, Place
from benchmarks.contenders.load import EXISTING, events, new_stream, payload
from benchmarks.contenders.ours import Ours
from benchmarks.measuring.measure import Spell
from benchmarks.measuring.workload import Measurement
from eventstore import AsyncEventStore, ExpectedVersion

__all__ = ["OursAsyncio"]


class OursAsyncio:
    """One store with its runtime. Each spell has a loop of its own."""

    name: ClassVar = "asyncio"

    def __init__(self, store: AsyncEventStore) -> None:
        self.store = store

    @classmethod
    def missing(cls) -> str | None:
        return Ours.missing()

    @classmethod
    def version(cls) -> str:
        return f"{Ours.version()}, AsyncEventStore"

    @classmethod
    def start(cls, place: Place) -> Self:
        return cls(asyncio.run(_connected(place.dsn, init=True)))

    @classmethod
    def join(cls, address: str) -> Self:
        return cls(asyncio.run(_connected(address, init=False)))

    @property
    def address(self) -> str:
        return self.store.dsn

    def close(self) -> None:
        asyncio.run(self.store.close())

    def append(self, load: Load, callers: int, seconds: float, start: float | None = None) -> Spell:
        """Append from *callers* tasks, each in a closed loop."""
        data = payload(load.size)
        streams = self._existing() if load.existing else iter(new_stream, "")
        version = ExpectedVersion.ANY if load.existing else ExpectedVersion.NO_STREAM

        async def append() -> None:
            await self.store.append_to_stream(next(streams), version, events(load.events, data))

        return asyncio.run(_spell(append, callers, seconds, start))

    def read(self, stream: str, length: int, readers: int, seconds: float) -> Spell:
        """Read from *readers* tasks, each in a closed loop."""

        async def read() -> None:
            assert len(await self.store.read_stream_forward(stream)) == length

        return asyncio.run(_spell(read, readers, seconds, None))

    def fill(self, stream: str, number: int) -> None:
        async def fill() -> None:
            for begin in range(0, number, 1_000):
                more = events(min(1_000, number - begin))
                await self.store.append_to_stream(stream, ExpectedVersion.ANY, more)

        asyncio.run(fill())

    def read_all(self) -> Measurement:
        async def read() -> int:
            number = 0
            async for _ in self.store.stream_all_forward():
                number += 1
            return number

        cpu, begun = time.process_time(), time.perf_counter()
        done = asyncio.run(read())
        took = time.perf_counter() - begun
        return Measurement(done / took, cpu_seconds=time.process_time() - cpu, operations=done)

    def _existing(self) -> Iterator[str]:
        names = [new_stream() for _ in range(EXISTING)]
        new = [(name, ExpectedVersion.NO_STREAM, events(1)) for name in names]
        asyncio.run(_awaited(self.store.append_to_streams(new)))
        return cycle(names)


async def _connected(dsn: str, *, init: bool) -> AsyncEventStore:
    return await AsyncEventStore.connect(dsn, init=init)


async def _awaited(call: Awaitable[object]) -> None:
    await call


async def _spell(
    do: Callable[[], Awaitable[None]], tasks: int, seconds: float, start: float | None
) -> Spell:
    """Repeat an operation in each of so many tasks; see `measure.spell`."""
    start = start or time.monotonic() + 0.005

    async def repeat() -> list[float]:
        await asyncio.sleep(max(0.0, start - time.monotonic()))
        latencies = []
        begun = time.monotonic()
        while True:
            await do()
            ended = time.monotonic()
            latencies.append(ended - begun)
            if ended >= start + seconds:
                return latencies
            begun = ended

    cpu = time.process_time()
    found = await asyncio.gather(*[repeat() for _ in range(tasks)])
    latencies = tuple(chain.from_iterable(found))
    return Spell(start, time.monotonic(), latencies, time.process_time() - cpu)
