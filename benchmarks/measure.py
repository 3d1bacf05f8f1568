"""Rounds of interleaved runs, and what they come to.

Other work may share the machine: trust ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Figure", "Run", "interleaved", "timed"]

Run = Callable[[], float]
"""One run of a workload; returns its rate, per second, or its latency, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Several runs of one workload by one contender."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)


def timed(count: int, work: Callable[[], object]) -> float:
    """Return how many of *count* things *work* does in a second."""
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)


def interleaved(contenders: Mapping[str, Run], rounds: int) -> dict[str, Figure]:
    """Run every contender once per round, in turn, after one run that does not count."""
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(rounds):
        for name, run in contenders.items():
            values[name].append(run())
    return {name: Figure(tuple(runs)) for name, runs in values.items()}
