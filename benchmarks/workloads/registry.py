"""All groups of workloads in the order of the report, with their expected durations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.contenders.arena import Arena
from benchmarks.measuring.workload import Scale, Workload
from benchmarks.workloads import (
    append_workloads,
    growth_workloads,
    handling_workloads,
    idle_workload,
    live_workloads,
    memory_workload,
    read_workloads,
    subscribe_workloads,
)

__all__ = ["GROUPS", "Group"]


@dataclass(frozen=True, slots=True)
class Group:
    """Workloads that share the contenders' databases and a table of the report."""

    name: str
    workloads: Callable[[Arena], Iterator[Workload]]
    seconds_full: float
    seconds_quick: float

    def seconds(self, scale: Scale) -> float:
        """Return the expected duration."""
        return scale.pick(self.seconds_full, self.seconds_quick, 1.0)


GROUPS = (
    Group("append", append_workloads.workloads, 580, 60),
    Group("read", read_workloads.workloads, 580, 30),
    Group("subscribe", subscribe_workloads.workloads, 670, 25),
    Group("handling", handling_workloads.workloads, 260, 25),
    Group("live", live_workloads.workloads, 250, 20),
    Group("growth", growth_workloads.workloads, 200, 20),
    Group("idle", idle_workload.workloads, 45, 10),
    Group("memory", memory_workload.workloads, 90, 12),
)
