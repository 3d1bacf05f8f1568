"""Every group of workloads, in the order of the report, and about how long each takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks import appending, growth, idle, live, memory, reading, subscribing
from benchmarks.arena import Arena
from benchmarks.workload import Scale, Workload

__all__ = ["GROUPS", "Group"]


@dataclass(frozen=True, slots=True)
class Group:
    """Workloads that share a server's databases and a table of the report."""

    name: str
    workloads: Callable[[Arena], Iterator[Workload]]
    seconds_full: float
    seconds_quick: float

    def seconds(self, scale: Scale) -> float:
        """Return about how long it takes, for the progress."""
        return scale.pick(self.seconds_full, self.seconds_quick, 1.0)


GROUPS = (
    Group("append", appending.workloads, 450, 60),
    Group("read", reading.workloads, 370, 30),
    Group("subscribe", subscribing.workloads, 260, 25),
    Group("live", live.workloads, 140, 20),
    Group("growth", growth.workloads, 130, 20),
    Group("idle", idle.workloads, 30, 10),
    Group("memory", memory.workloads, 60, 12),
)
