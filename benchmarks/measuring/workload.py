"""The vocabulary: a workload is one line of the report; contenders run it once per round.

A module of workloads (`append_workloads`, `read_workloads` …) has a function

    def workloads(arena: Arena) -> Iterator[Workload]

that `registry.GROUPS` lists. It is a generator. Code before a yield prepares the workload, with
`arena.open(Ours)` for instance; code after it cleans up, because the workload runs before the
generator is resumed. All groups share one server. The arena gives each contender a fresh database
and removes it after the group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

__all__ = ["FULL", "QUICK", "SMOKE", "Better", "Measurement", "Round", "Run", "Scale", "Workload"]

Better = Literal["higher", "lower"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a benchmark run."""

    name: Literal["full", "quick", "smoke"]
    rounds: int
    """Runs that count, per contender."""
    warm_up: bool
    """Whether one more run precedes them, which does not count."""
    seconds: float
    """Duration of a run without an end of its own, such as appending."""

    def pick(self, full: T, quick: T, smoke: T) -> T:
        """Return the value for this scale, such as a number of events."""
        return {"full": full, "quick": quick, "smoke": smoke}[self.name]


FULL = Scale("full", rounds=5, warm_up=True, seconds=0.4)
"""The scale of the published results; all groups take about 40 minutes."""
QUICK = Scale("quick", rounds=3, warm_up=False, seconds=0.2)
"""A quick overview; under 3 minutes."""
SMOKE = Scale("smoke", rounds=1, warm_up=False, seconds=0.01)
"""Proves that every workload still runs, in a few seconds. Its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Round:
    """The argument of a run."""

    number: int
    """From 1; 0 is the warm-up."""
    seconds: float
    """As in `Scale`."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result of one run."""

    value: float
    """In the unit of the workload."""
    latencies: tuple[float, ...] = ()
    """Seconds of each operation, if the workload times them; shown as percentiles."""
    cpu_seconds: float | None = None
    """CPU time of the client, helper processes included."""
    operations: int | None = None
    """Number of events that the CPU time was spent on."""
    extra: Mapping[str, float] = field(default_factory=dict)
    """Further figures by name with unit; they are kept in the JSON."""


Run = Callable[[Round], Measurement]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One line of the report."""

    name: str
    """Unique in its group, such as ``100 x 1``."""
    group: str
    unit: str
    """Unit of the values: ``events/s``, ``ms``, ``MB``."""
    better: Better = "higher"
    contenders: Mapping[str, Run]
    """Runs by contender (``ours``, ``bare`` …), in the order of the table."""
    panel: str = ""
    """Title of its panel in the plot; workloads of a group may share one."""
    label: str = ""
    """Label in its panel; its name if empty."""
    rounds: int | None = None
    """Runs that count, if `Scale.rounds` would take too long; then there is no warm-up."""
