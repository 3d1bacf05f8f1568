"""Append a long series of events, as an import does: one caller, 1,000 events in a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

from benchmarks.contenders.arena import Arena
from benchmarks.contenders.bare import Bare
from benchmarks.contenders.load import EVENT_TYPE, new_stream, payload
from benchmarks.contenders.ours import Ours
from benchmarks.contenders.ours_asyncio import OursAsyncio
from benchmarks.measuring.measure import timed
from benchmarks.measuring.workload import Measurement, Round, Workload
from eventstore import EventData

__all__ = ["series"]

_PER_STREAM = 100
_PER_COMMIT = 1_000


def series(arena: Arena) -> Workload:
    """Return the workload: 100 events in a row for each new stream."""
    number = arena.scale.pick(300_000, 50_000, 1_000)
    return Workload(
        name=f"a series of {number:,} events",
        group="append",
        unit="events/s",
        contenders={
            "ours": partial(_ours, arena.open(Ours), number),
            "asyncio": partial(_in_loop, arena.open(OursAsyncio), number),
            "bare": partial(_bare, arena.open(Bare), number),
        },
        panel="a series of events",
        label=f"{number:,} events",
        rounds=arena.scale.pick(3, 1, 1),
    )


def _events(number: int) -> Iterator[tuple[str, EventData]]:
    data = payload()
    for _ in range(number // _PER_STREAM):
        stream = new_stream()
        for _ in range(_PER_STREAM):
            yield stream, EventData(EVENT_TYPE, data)


def _ours(ours: Ours, number: int, _: Round) -> Measurement:
    return timed(lambda: ours.store.append_many(_events(number)))


def _in_loop(ours: OursAsyncio, number: int, _: Round) -> Measurement:
    async def append() -> int:
        return await ours.store.append_many(_events(number))

    return timed(lambda: asyncio.run(append()))


def _bare(bare: Bare, number: int, _: Round) -> Measurement:
    return timed(lambda: bare.append_series(number, per_stream=_PER_STREAM, per_commit=_PER_COMMIT))
