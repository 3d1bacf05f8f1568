"""Statistics of paired ratios and the verdict on them. Pure: no process, no clock, no file."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Estimate", "Verdict", "estimate", "judge"]

SLOWER = 0.95
"""Below this ratio of speeds the new side is slower."""
HALF_WIDTH = 0.05
"""An interval that reaches farther than this from its median, relative to it, is too wide."""
MORE_CPU = 1.05
"""Above this ratio of CPU times the new side costs more."""

_RESAMPLES = 4_000
_SEED = 20_240
_TAIL = 0.05


class Verdict(StrEnum):
    """The outcome for one workload."""

    SURELY_SLOWER = "surely slower"
    AS_FAST = "as fast"
    SURELY_FASTER = "surely faster"
    UNDECIDED = "undecided"
    """The interval is too wide; more pairs may narrow it."""
    TOO_FEW_PAIRS = "too few pairs"
    FAILED = "failed"
    """A side could not run it."""
    AS_FAST_BY_CPU = "as fast, by CPU"
    SLOWER_BY_CPU = "slower, by CPU"

    @property
    def is_bad(self) -> bool:
        """Whether a comparison with such an outcome fails."""
        return self in {Verdict.SURELY_SLOWER, Verdict.SLOWER_BY_CPU, Verdict.FAILED}


@dataclass(frozen=True, slots=True)
class Estimate:
    """Median of paired ratios new / old, with the 90 % bootstrap interval of that median."""

    median: float
    low: float
    high: float

    @property
    def is_wide(self) -> bool:
        farthest = max(self.high - self.median, self.median - self.low)
        return farthest > HALF_WIDTH * self.median


def estimate(ratios: Sequence[float]) -> Estimate:
    """Estimate the median of *ratios*; the same ratios always give the same interval.

    Raises:
        statistics.StatisticsError: There are no ratios.
    """
    median = statistics.median(ratios)
    drawing = random.Random(_SEED)  # repeatable, not secret
    medians = sorted(
        statistics.median(drawing.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES)
    )
    cut = int(_TAIL * _RESAMPLES)
    return Estimate(median, medians[cut], medians[-1 - cut])


def judge(speed: Estimate, cpu_ratio: float, *, is_last: bool) -> Verdict:
    """Judge one workload.

    Args:
        speed: Ratio of speeds new / old; more than 1 is faster.
        cpu_ratio: CPU time per event of client and server, new / old.
        is_last: No more pairs will run, so the CPU time decides where the speed cannot.
    """
    if speed.high < SLOWER:
        return Verdict.SURELY_SLOWER
    if speed.low > 1:
        return Verdict.SURELY_FASTER
    if speed.low >= SLOWER or not speed.is_wide:
        return Verdict.AS_FAST
    if not is_last:
        return Verdict.UNDECIDED
    return Verdict.SLOWER_BY_CPU if cpu_ratio > MORE_CPU else Verdict.AS_FAST_BY_CPU
