"""What a benchmark is: one line of the report, which each contender runs once per round.

A module of workloads (`appending`, `reading`, `subscribing` …) is a function

    def workloads(arena: Arena) -> Iterator[Workload]

in `registry.GROUPS`. It is a generator: what a workload needs (events to read, say) is prepared
right before it is yielded, with `arena.open(Ours)` and its like; it runs before the generator goes
on, so what follows the yield cleans up. The arena of a group has a server shared by all groups and
a fresh database per contender, both gone when the group is over.
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
    """How much of everything."""

    name: Literal["full", "quick", "smoke"]
    rounds: int
    """Runs that count, per contender."""
    warm_up: bool
    """One more run before them, which does not count."""
    seconds: float
    """How long a run takes that has no end of its own, such as appending."""

    def pick(self, full: T, quick: T, smoke: T) -> T:
        """Return the one for this scale: a number of events, the workloads to run."""
        return {"full": full, "quick": quick, "smoke": smoke}[self.name]


FULL = Scale("full", rounds=5, warm_up=True, seconds=0.4)
"""What the results are made of; under 30 minutes for all groups."""
QUICK = Scale("quick", rounds=3, warm_up=False, seconds=0.2)
"""To see where one stands; under 3 minutes."""
SMOKE = Scale("smoke", rounds=1, warm_up=False, seconds=0.01)
"""To see that every workload still runs; a few seconds. Its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a run is told."""

    number: int
    """From 1; 0 is the warm-up."""
    seconds: float
    """As in `Scale`."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run came to."""

    value: float
    """In the unit of the workload."""
    latencies: tuple[float, ...] = ()
    """Seconds of every single operation, where the workload has such; percentiles are shown."""
    cpu_seconds: float | None = None
    """CPU time of the client: of this process and of the processes that helped it."""
    operations: int | None = None
    """How many events the CPU time was spent on."""
    extra: Mapping[str, float] = field(default_factory=dict)
    """Further figures of this run, each under its name with unit; they go into the JSON."""


Run = Callable[[Round], Measurement]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One line of the report."""

    name: str
    """Unique in its group; what distinguishes it, such as ``100 x 1``."""
    group: str
    unit: str
    """Of the values: ``events/s``, ``ms``, ``MB``."""
    better: Better = "higher"
    contenders: Mapping[str, Run]
    """By the contender's name: ``ours``, ``bare`` …, in the order of the table."""
    panel: str = ""
    """Workloads of a group with the same panel are drawn side by side; its title in the plot."""
    label: str = ""
    """What distinguishes it in its panel; empty: its name."""
    rounds: int | None = None
    """Runs that count, where `Scale.rounds` would take too long; then there is no warm-up."""
