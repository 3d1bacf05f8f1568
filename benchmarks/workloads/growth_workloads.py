"""Growth: cost of an event in a large store as a multiple of its cost in a small one.

Both are measured in turn, slice by slice, so that a machine with other work slows both. What is
measured leaves little behind, lest the small store grows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import count
from uuid import uuid4

from benchmarks.contenders.arena import Arena
from benchmarks.contenders.load import ALL, events
from benchmarks.contenders.ours_asyncio import OursAsyncio
from benchmarks.measuring.measure import spell
from benchmarks.measuring.workload import Measurement, Round, Run, Workload
from benchmarks.workloads.aging import Aging
from benchmarks.workloads.growth_case import APPENDS, CALLERS, PER_APPEND, TIMEOUT, Cost, Filled
from benchmarks.workloads.loop_growth import COSTS_IN_LOOP
from benchmarks.workloads.seeding import seed
from eventstore import Events, EventStore, ExpectedVersion

__all__ = ["workloads"]

_SLICES = 5
"""Slices of a run in each of the two stores."""


def workloads(arena: Arena) -> Iterator[Workload]:
    """Yield stores with 100 events per stream, with one, and under an old snapshot."""
    pick = arena.scale.pick
    with ExitStack() as closing:
        rounds = pick(3, 2, 1)
        small = _filled(arena, closing, pick(10_000, 10_000, 500), 100)
        for number in pick((1_000_000, 10_000_000), (1_000_000,), (1_000,)):
            yield from _comparisons(small, _filled(arena, closing, number, 100), rounds)
        if arena.scale.name != "quick":
            few_streams = _filled(arena, closing, pick(10_000, 0, 500), 1)
            many_streams = _filled(arena, closing, pick(1_000_000, 0, 1_000), 1)
            yield from _comparisons(few_streams, many_streams, rounds)
        yield from _old_snapshot(arena, closing, small, pick(100_000, 5_000, 100), rounds)


def _filled(arena: Arena, closing: ExitStack, number: int, per_stream: int) -> Filled:
    dsn = arena.place("growth").dsn
    EventStore.connect(dsn, init=True).close()
    seed(dsn, number, per_stream=per_stream)
    store = closing.enter_context(EventStore.connect(dsn))
    in_loop = OursAsyncio.join(dsn)
    closing.callback(in_loop.close)
    name = f"{number:,} events" if per_stream > 1 else f"{number:,} streams"
    return Filled(name, store, in_loop.store, number, per_stream)


def _comparisons(
    small: Filled, large: Filled, rounds: int, more: dict[str, Cost] | None = None
) -> Iterator[Workload]:
    for what, cost in (_COSTS | (more or {})).items():
        contenders: dict[str, Run] = {"ours": partial(_compared, cost, small, large)}
        if what in COSTS_IN_LOOP:
            contenders["asyncio"] = partial(_compared, COSTS_IN_LOOP[what], small, large)
        yield Workload(
            name=f"{what}, {large.name}",
            group="growth",
            unit=f"x the cost at {small.name}",
            better="lower",
            contenders=contenders,
            panel=what,
            label=large.name,
            rounds=rounds,
        )


def _old_snapshot(
    arena: Arena, closing: ExitStack, small: Filled, commits: int, rounds: int
) -> Iterator[Workload]:
    old = _filled(arena, closing, small.events, small.per_stream)
    agings = {one.store.dsn: closing.enter_context(Aging(one.store.dsn)) for one in (small, old)}
    agings[old.store.dsn].age(commits)
    old = replace(old, name=f"a snapshot open over {commits:,} commits")

    def checkpoint(filled: Filled, seconds: float) -> float:
        return statistics.median(spell([agings[filled.store.dsn].checkpoint], seconds).latencies)

    yield from _comparisons(small, old, rounds, {"checkpoint": checkpoint})


def _compared(cost: Cost, small: Filled, large: Filled, round_: Round) -> Measurement:
    seconds = round_.seconds / _SLICES
    pairs = [(cost(small, seconds), cost(large, seconds)) for _ in range(_SLICES)]
    # The minimum of each, as other work on the machine only adds to it.
    few, many = (1_000_000 * min(costs) for costs in zip(*pairs, strict=True))
    return Measurement(
        many / few,
        extra={f"us per event, {small.name}": few, f"us per event, {large.name}": many},
    )


# ── what is measured ─────────────────────────────────────────────────────────────────────────────


def _append(filled: Filled, _: float) -> float:
    """Append to random streams, from a few callers."""

    def append_some() -> None:
        for _ in range(APPENDS):
            stream = filled.some_stream()
            filled.store.append_to_stream(stream, ExpectedVersion.ANY, events(PER_APPEND))

    done = spell([append_some] * CALLERS, 0.0)
    return (done.ended - done.began) / (CALLERS * APPENDS * PER_APPEND)


def _read_stream(filled: Filled, seconds: float) -> float:
    """Read whole random streams."""
    read = count()

    def read_one() -> None:
        found = filled.store.read_stream_forward(filled.some_stream(), count=filled.per_stream)
        for _ in found:
            next(read)

    done = spell([read_one], seconds)
    return (done.ended - done.began) / next(read)


def _read_all(filled: Filled, seconds: float) -> float:
    """Read pages from random positions."""
    size = filled.page

    def read_page() -> None:
        start = filled.some_position(size) + 1
        assert len(filled.store.read_all_streams_forward(start, size)) == size

    done = spell([read_page], seconds)
    return (done.ended - done.began) / (size * len(done.latencies))


def _catch_up(filled: Filled, _: float) -> float:
    """Catch up from a random position, acknowledging each batch."""
    number = filled.caught_up
    start = filled.some_position(number)
    [last] = filled.store.read_all_streams_forward(start + number, 1)
    name = f"catch-up-{uuid4()}"
    begun = time.perf_counter()
    subscription = filled.store.subscribe_to_all_streams(
        name, _acknowledge, start_from=start, batch_by="any"
    )
    subscription.wait_for(last, TIMEOUT)
    taken = time.perf_counter() - begun
    subscription.unsubscribe()
    filled.store.delete_subscription(ALL, name)
    return taken / number


def _acknowledge(_: Events) -> None: ...


_COSTS: dict[str, Cost] = {
    "read a stream": _read_stream,
    "read all streams": _read_all,
    "catch up": _catch_up,
    "append": _append,
}
