"""Memory: peak of a process whose subscriber is much slower than its events.

``python -m benchmarks.workloads.memory_workload CONTENDER DSN SECONDS APPENDS`` is that process; it
prints megabytes.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pykka

from benchmarks.contenders.arena import Arena
from benchmarks.contenders.load import ALL, events, new_stream
from benchmarks.measuring.measured_process import printed_by
from benchmarks.measuring.workload import Measurement, Round, Workload
from benchmarks.workloads.seeding import seed
from eventstore import AsyncEventStore, Config, Events, EventStore, ExpectedVersion

__all__ = ["workloads"]

_PER_APPEND = 100
_PER_EVENT = 0.005
"""Seconds that the subscriber spends on an event."""


def workloads(arena: Arena) -> Iterator[Workload]:
    """Yield a backlog alone, then a backlog with appends by the same process."""
    backlog = arena.scale.pick(1_000_000, 100_000, 1_000)
    seconds = arena.scale.pick(20.0, 3.0, 0.1)
    appended = arena.scale.pick(200_000, 60_000, 200)
    dsn = arena.place("memory").dsn
    EventStore.connect(dsn, init=True).close()
    seed(dsn, backlog, per_stream=100)
    for more, added in ((0, ""), (appended, f" and {appended:,} more")):
        yield Workload(
            name=f"{backlog:,} events{added} before a slow subscriber",
            group="memory",
            unit="MB",
            better="lower",
            contenders={name: partial(_run, name, dsn, seconds, more) for name in _MEASURED},
            rounds=1,
        )


def _run(name: str, dsn: str, seconds: float, appended: int, _: Round) -> Measurement:
    peak = printed_by("benchmarks.workloads.memory_workload", name, dsn, seconds, appended)
    return Measurement(peak)


class _Slow(pykka.ThreadingActor):
    use_daemon_thread = True  # nobody waits for what it has not done

    def on_receive(self, message: object) -> None:
        if isinstance(message, Events):
            for event in message:
                time.sleep(_PER_EVENT)
                message.subscription.ack(event)


def _peak(dsn: str, seconds: float, appended: int) -> float:
    until = time.monotonic() + seconds
    with EventStore.connect(Config(dsn, stop_timeout=0.1)) as store:
        subscription = store.subscribe_to_all_streams("slow", _Slow.start())
        for _ in range(appended // _PER_APPEND):
            store.append_to_stream(new_stream(), ExpectedVersion.NO_STREAM, events(_PER_APPEND))
        while time.monotonic() < until or subscription.checkpoint == 0:
            time.sleep(0.05)
        head = store.stream_info(ALL).stream_version
        assert subscription.checkpoint < head, f"no backlog at {subscription.checkpoint}"
        return _peak_of_this_process()


async def _peak_in_a_loop(dsn: str, seconds: float, appended: int) -> float:
    until = time.monotonic() + seconds
    async with AsyncEventStore.connect(Config(dsn, stop_timeout=0.1)) as store:
        subscription = await store.subscribe_to_all_streams("slow in a loop", _work_slowly)
        for _ in range(appended // _PER_APPEND):
            more = events(_PER_APPEND)
            await store.append_to_stream(new_stream(), ExpectedVersion.NO_STREAM, more)
        while time.monotonic() < until or subscription.checkpoint == 0:
            await asyncio.sleep(0.05)
        head = (await store.stream_info(ALL)).stream_version
        assert subscription.checkpoint < head, f"no backlog at {subscription.checkpoint}"
        return _peak_of_this_process()


async def _work_slowly(received: Events) -> None:
    for _ in received:
        await asyncio.sleep(_PER_EVENT)


def _peak_of_this_process() -> float:
    """Return megabytes; getrusage is a fallback, as on Linux it includes the parent before exec."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1_024 / 1_000_000
    unit = 1 if sys.platform == "darwin" else 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1_000_000


_MEASURED: dict[str, Callable[[str, float, int], float]] = {
    "ours": _peak,
    "asyncio": lambda dsn, seconds, appended: asyncio.run(_peak_in_a_loop(dsn, seconds, appended)),
}

if __name__ == "__main__":
    print(_MEASURED[sys.argv[1]](sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
