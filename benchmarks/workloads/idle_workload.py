"""Idle: CPU time of a process with 500 subscriptions and no events.

``python -m benchmarks.workloads.idle_workload CONTENDER DSN SUBSCRIPTIONS SECONDS`` is that
process; it prints the per cent of a core.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.contenders.arena import Arena
from benchmarks.measuring.measured_process import printed_by
from benchmarks.measuring.workload import Measurement, Round, Workload
from eventstore import AsyncEventStore, Events, EventStore, SubscriptionState

__all__ = ["workloads"]


def workloads(arena: Arena) -> Iterator[Workload]:
    """Yield one workload: a separate process that only waits."""
    subscriptions = arena.scale.pick(500, 500, 5)
    seconds = arena.scale.pick(20.0, 5.0, 0.1)
    dsn = arena.place("idle").dsn
    EventStore.connect(dsn, init=True).close()
    yield Workload(
        name=f"{subscriptions} idle subscriptions",
        group="idle",
        unit="% of a core",
        better="lower",
        contenders={name: partial(_run, name, dsn, subscriptions, seconds) for name in _MEASURED},
        rounds=1,
    )


def _run(name: str, dsn: str, subscriptions: int, seconds: float, _: Round) -> Measurement:
    return Measurement(
        printed_by("benchmarks.workloads.idle_workload", name, dsn, subscriptions, seconds)
    )


def _percent_of_a_core(dsn: str, number: int, seconds: float) -> float:
    with EventStore.connect(dsn) as store:
        subscriptions = [
            store.subscribe_to_all_streams(f"idle-{place}", _nothing) for place in range(number)
        ]
        while any(one.state is not SubscriptionState.LIVE for one in subscriptions):
            time.sleep(0.1)
        cpu, begun = time.process_time(), time.monotonic()
        time.sleep(seconds)
        return 100 * (time.process_time() - cpu) / (time.monotonic() - begun)


def _nothing(_: Events) -> None: ...


async def _percent_in_a_loop(dsn: str, number: int, seconds: float) -> float:
    async with AsyncEventStore.connect(dsn) as store:
        subscriptions = [
            await store.subscribe_to_all_streams(f"idle-{place}", _await_nothing)
            for place in range(number)
        ]
        while any(one.state is not SubscriptionState.LIVE for one in subscriptions):
            await asyncio.sleep(0.1)
        cpu, begun = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        return 100 * (time.process_time() - cpu) / (time.monotonic() - begun)


async def _await_nothing(_: Events) -> None: ...


_MEASURED: dict[str, Callable[[str, int, float], float]] = {
    "ours": _percent_of_a_core,
    "asyncio": lambda dsn, number, seconds: asyncio.run(_percent_in_a_loop(dsn, number, seconds)),
}

if __name__ == "__main__":
    print(_MEASURED[sys.argv[1]](sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
