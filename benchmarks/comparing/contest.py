"""Alternating pairs of rounds, and what they come to for each workload."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from benchmarks.comparing.player import PlayedRound
from benchmarks.comparing.ratios import Estimate, Verdict, estimate, judge

__all__ = ["Contest", "Pair", "Player", "parse_round"]

STEP = 9
"""Pairs between two looks at the intervals, and the fewest that allow a verdict."""


class Player(Protocol):
    """Plays a round of a workload for one side."""

    def __call__(self, workload: str, *, seconds: float, prepare: bool) -> PlayedRound: ...


@dataclass(frozen=True, slots=True)
class Pair:
    """A round of either side, played one right after the other."""

    old: PlayedRound
    new: PlayedRound

    @property
    def speed_ratio(self) -> float:
        return self.new.speed / self.old.speed

    @property
    def cpu_ratio(self) -> float:
        return _cpu(self.new) / _cpu(self.old)


def _cpu(played: PlayedRound) -> float:
    return played.client_us + played.server_us


def parse_round(line: str) -> PlayedRound:
    """Read what the player printed."""
    return PlayedRound(**json.loads(line))


@dataclass(slots=True)
class Contest:
    """The pairs of one workload so far."""

    workload: str
    most_pairs: int
    pairs: list[Pair] = field(default_factory=list)

    def prepare(self, old: Player, new: Player) -> None:
        """Fill the stores of both sides and play a first, short round that does not count."""
        for player in (old, new):
            player(self.workload, seconds=0.1, prepare=True)

    def play(self, old: Player, new: Player, seconds: float) -> Pair:
        """Play one more pair; the side that begins changes each time."""
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
        played = len(self.pairs)
        if played >= self.most_pairs:
            return True
        return played > 0 and played % STEP == 0 and self.verdict is not Verdict.UNDECIDED

    @property
    def speed(self) -> Estimate:
        return estimate([pair.speed_ratio for pair in self.pairs])

    @property
    def cpu_ratio(self) -> float:
        """CPU time per event of client and server, new / old."""
        return statistics.median(pair.cpu_ratio for pair in self.pairs)

    @property
    def verdict(self) -> Verdict:
        if len(self.pairs) < STEP:
            return Verdict.TOO_FEW_PAIRS
        is_last = len(self.pairs) >= self.most_pairs
        return judge(self.speed, self.cpu_ratio, is_last=is_last)

    @property
    def old(self) -> PlayedRound:
        """The median round of the old side, figure by figure."""
        return _median([pair.old for pair in self.pairs])

    @property
    def new(self) -> PlayedRound:
        """The median round of the new side, figure by figure."""
        return _median([pair.new for pair in self.pairs])

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "speed_ratio": asdict(self.speed),
            "cpu_ratio": self.cpu_ratio,
            "pairs": [
                {"old": _figures(pair.old), "new": _figures(pair.new)} for pair in self.pairs
            ],
        }


def _median(rounds: Sequence[PlayedRound]) -> PlayedRound:
    return PlayedRound(
        statistics.median(played.speed for played in rounds),
        statistics.median(played.client_us for played in rounds),
        statistics.median(played.server_us for played in rounds),
        rounds[0].source,
    )


def _figures(played: PlayedRound) -> dict[str, float]:
    return {"speed": played.speed, "client_us": played.client_us, "server_us": played.server_us}
