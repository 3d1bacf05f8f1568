"""Alternating pairs of rounds, and what they come to for each workload."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from benchmarks.comparing.ratios import Estimate, Verdict, estimate, judge
from benchmarks.comparing.round_program import RoundResult

__all__ = ["Comparison", "Pair", "RunRound", "parse_round"]

STEP = 9
"""Pairs between two looks at the intervals, and the fewest that allow a verdict."""


class RunRound(Protocol):
    """Runs a round of a workload on one side."""

    def __call__(self, workload: str, *, seconds: float, prepare: bool) -> RoundResult: ...


@dataclass(frozen=True, slots=True)
class Pair:
    """A round of either side, one right after the other."""

    old: RoundResult
    new: RoundResult

    @property
    def speed_ratio(self) -> float:
        return self.new.speed / self.old.speed

    @property
    def cpu_ratio(self) -> float:
        return _cpu(self.new) / _cpu(self.old)


def _cpu(measured: RoundResult) -> float:
    return measured.client_us + measured.server_us


def parse_round(line: str) -> RoundResult:
    """Read what the program of a round printed."""
    return RoundResult(**json.loads(line))


@dataclass(slots=True)
class Comparison:
    """The pairs of one workload so far."""

    workload: str
    most_pairs: int
    pairs: list[Pair] = field(default_factory=list)
    failure: str = ""
    """Why a side could not run it; empty if both could."""

    def prepare(self, old: RunRound, new: RunRound) -> None:
        """Fill the stores of both sides and run a first, short round that does not count."""
        for run in (old, new):
            run(self.workload, seconds=0.1, prepare=True)

    def run_pair(self, old: RunRound, new: RunRound, seconds: float) -> Pair:
        """Run one more pair; the side that begins changes each time."""
        new_begins = len(self.pairs) % 2 == 1
        first, second = (new, old) if new_begins else (old, new)
        begun = first(self.workload, seconds=seconds, prepare=False)
        ended = second(self.workload, seconds=seconds, prepare=False)
        pair = Pair(ended, begun) if new_begins else Pair(begun, ended)
        self.pairs.append(pair)
        return pair

    @property
    def is_over(self) -> bool:
        """Whether no further pair is needed; looked at after every `STEP` pairs."""
        number = len(self.pairs)
        if number >= self.most_pairs or self.failure:
            return True
        return number > 0 and number % STEP == 0 and self.verdict is not Verdict.UNDECIDED

    @property
    def speed(self) -> Estimate:
        return estimate([pair.speed_ratio for pair in self.pairs])

    @property
    def cpu_ratio(self) -> float:
        """CPU time per event of client and server, new / old."""
        return statistics.median(pair.cpu_ratio for pair in self.pairs)

    @property
    def verdict(self) -> Verdict:
        if self.failure:
            return Verdict.FAILED
        if len(self.pairs) < STEP:
            return Verdict.TOO_FEW_PAIRS
        is_last = len(self.pairs) >= self.most_pairs
        return judge(self.speed, self.cpu_ratio, is_last=is_last)

    @property
    def old(self) -> RoundResult:
        """The median round of the old side, figure by figure."""
        return _median([pair.old for pair in self.pairs])

    @property
    def new(self) -> RoundResult:
        """The median round of the new side, figure by figure."""
        return _median([pair.new for pair in self.pairs])

    def as_json(self) -> dict[str, Any]:
        if self.failure:
            return {"verdict": self.verdict, "failure": self.failure}
        return {
            "verdict": self.verdict,
            "speed_ratio": asdict(self.speed),
            "cpu_ratio": self.cpu_ratio,
            "pairs": [
                {"old": _figures(pair.old), "new": _figures(pair.new)} for pair in self.pairs
            ],
        }


def _median(rounds: Sequence[RoundResult]) -> RoundResult:
    return RoundResult(
        statistics.median(measured.speed for measured in rounds),
        statistics.median(measured.client_us for measured in rounds),
        statistics.median(measured.server_us for measured in rounds),
        rounds[0].source,
    )


def _figures(measured: RoundResult) -> dict[str, float]:
    figures = asdict(measured)
    del figures["source"]
    return figures
