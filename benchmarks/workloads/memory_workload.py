"""Memory: peak of a process whose subscriber is much slower than its events.

``python -m benchmarks.workloads.memory_workload DSN SECONDS APPENDS`` is that process; it prints
megabytes.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pykka

from benchmarks.contenders.arena import Arena
from benchmarks.contenders.load import ALL, events, new_stream
from benchmarks.measuring.measured_process import printed_by
from benchmarks.measuring.workload import Measurement, Round, Workload
from benchmarks.workloads.seeding import seed
from eventstore import Config, Events, EventStore, ExpectedVersion

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
            contenders={"ours": partial(_run, dsn, seconds, more)},
            rounds=1,
        )


def _run(dsn: str, seconds: float, appended: int, _: Round) -> Measurement:
    return Measurement(printed_by("benchmarks.workloads.memory_workload", dsn, seconds, appended))


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


def _peak_of_this_process() -> float:
    """Return megabytes; getrusage is a fallback, as on Linux it includes the parent before exec."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1_024 / 1_000_000
    unit = 1 if sys.platform == "darwin" else 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1_000_000


if __name__ == "__main__":
    print(_peak(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
