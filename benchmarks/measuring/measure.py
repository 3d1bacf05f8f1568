"""Callers that repeat an operation for a while, interleaved rounds, and their statistics.

Other work may share the machine, so only ratios within one run can be trusted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Self

from benchmarks.measuring.workload import Measurement, Round, Scale, Workload

__all__ = [
    "Figure",
    "Operation",
    "Spell",
    "interleaved",
    "percentile",
    "spell",
    "timed",
    "together",
]


_PERCENTILES = (50, 99, 100)

Operation = Callable[[], None]
"""One unit of work, repeated by one thread."""


# ── one run ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Spell:
    """The work of some callers during one run."""

    began: float
    ended: float
    """When the last caller finished."""
    latencies: tuple[float, ...]
    """Seconds of each operation."""
    cpu_seconds: float
    callers_at_once: int = 1
    """Number of callers that one operation serves."""


def spell(operations: Sequence[Operation], seconds: float, start: float | None = None) -> Spell:
    """Repeat each operation in a thread of its own for *seconds*, at least once.

    Args:
        operations: One per caller.
        seconds: No operation begins later than this.
        start: Moment of `time.monotonic` at which all begin; None: as soon as the threads exist.
    """
    start = start or time.monotonic() + 0.005 + 0.0005 * len(operations)
    with ThreadPoolExecutor(len(operations)) as threads:
        callers = [threads.submit(_repeat, do, start, start + seconds) for do in operations]
        cpu = time.process_time()
        latencies = tuple(chain.from_iterable(caller.result() for caller in callers))
        return Spell(start, time.monotonic(), latencies, time.process_time() - cpu)


def _repeat(do: Operation, start: float, until: float) -> list[float]:
    _sleep_until(start)
    latencies = []
    begun = time.monotonic()
    while True:
        do()
        ended = time.monotonic()
        latencies.append(ended - begun)
        if ended >= until:
            return latencies
        begun = ended


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def together(spells: Sequence[Spell], events: int) -> Measurement:
    """Return the total rate of simultaneous *spells* with *events* per caller and operation."""
    latencies = tuple(chain.from_iterable(one.latencies for one in spells))
    total = events * sum(len(one.latencies) * one.callers_at_once for one in spells)
    took = max(one.ended for one in spells) - min(one.began for one in spells)
    return Measurement(
        total / took,
        latencies,
        cpu_seconds=sum(one.cpu_seconds for one in spells),
        operations=total,
    )


def timed(work: Callable[[], int]) -> Measurement:
    """Run *work* once and return its rate; it returns the number of things it did."""
    cpu, begun = time.process_time(), time.perf_counter()
    done = work()
    took = time.perf_counter() - begun
    return Measurement(done / took, cpu_seconds=time.process_time() - cpu, operations=done)


# ── many runs ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Figure:
    """All runs of one workload by one contender."""

    values: tuple[float, ...]
    """One per run, in the unit of the workload."""
    latency_ms: Mapping[str, float]
    """Percentiles over the operations of all runs; empty if operations were not timed."""
    cpu_us_per_event: float | None
    """CPU time of the client over all runs."""
    extra: Mapping[str, float]
    """Median of every further figure."""

    @classmethod
    def of(cls, runs: Sequence[Measurement]) -> Self:
        latencies = sorted(chain.from_iterable(run.latencies for run in runs))
        return cls(
            values=tuple(_rounded(run.value) for run in runs),
            latency_ms={
                f"p{percent}": _rounded(1_000 * percentile(latencies, percent))
                for percent in (_PERCENTILES if latencies else ())
            },
            cpu_us_per_event=_cpu_us_per_event(runs),
            extra=_medians([run.extra for run in runs]),
        )

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)


def _cpu_us_per_event(runs: Sequence[Measurement]) -> float | None:
    spent = [(r.cpu_seconds, r.operations) for r in runs if r.cpu_seconds is not None]
    seconds = sum(cpu for cpu, events in spent if events)
    total = sum(events for _, events in spent if events)
    return _rounded(1_000_000 * seconds / total) if total else None


def _medians(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(chain.from_iterable(figures))
    return {
        name: _rounded(statistics.median(one[name] for one in figures if name in one))
        for name in names
    }


def _rounded(value: float) -> float:
    """Return *value* with four significant digits; rounds differ by more than the fifth."""
    return float(f"{value:.4g}")


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of *values* that is at least as large as *percent* of them."""
    ordered = sorted(values)
    return ordered[max(0, -int(-percent * len(ordered) // 100) - 1)]


def interleaved(
    workload: Workload,
    scale: Scale,
    began: Callable[[str, int, int], object],
    failed: Callable[[str, Exception], object],
) -> dict[str, Figure]:
    """Run every contender once per round; the one that begins changes each round.

    Args:
        workload: What to run.
        scale: How often.
        began: Called before each run with the contender, the round and the number of rounds.
        failed: Called with a contender and its error; it takes no further part and has no figure.
    """
    rounds = workload.rounds or scale.rounds
    first = 0 if scale.warm_up and workload.rounds is None else 1
    names = list(workload.contenders)
    runs: dict[str, list[Measurement]] = {name: [] for name in names}
    for number in range(first, rounds + 1):
        turn = number % len(names)
        for name in [n for n in names[turn:] + names[:turn] if n in runs]:
            began(name, number, rounds)
            try:
                measured = workload.contenders[name](Round(number, scale.seconds))
            except Exception as error:  # noqa: BLE001 - one failure must not discard the others' results
                del runs[name]
                failed(name, error)
            else:
                runs[name] += [measured] if number > 0 else []
    return {name: Figure.of(measured) for name, measured in runs.items()}
