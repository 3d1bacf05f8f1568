"""The table of a comparison, for the terminal. Pure: from comparisons to lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.comparing.comparison import Comparison
from benchmarks.comparing.round_program import WORKLOADS

__all__ = ["heading", "row", "table"]

_COLUMNS = "{:<17} {:>11} {:>11} {:>9} {:>14} {:>5} {:>17} {:>17}  {}"


def heading() -> str:
    return _COLUMNS.format(
        "workload",
        "base",
        "new",
        "new/base",
        "90 % interval",
        "pairs",
        "client us/event",
        "server us/event",
        "verdict",
    )


def row(comparison: Comparison) -> str:
    if comparison.failure:
        return f"{comparison.workload:<17} {comparison.verdict}"
    speed, old, new = comparison.speed, comparison.old, comparison.new
    is_latency = WORKLOADS[comparison.workload].is_latency
    return _COLUMNS.format(
        comparison.workload,
        _speed(old.speed, is_latency=is_latency),
        _speed(new.speed, is_latency=is_latency),
        f"{speed.median:.3f}",
        f"{speed.low:.3f} - {speed.high:.3f}",
        len(comparison.pairs),
        f"{old.client_us:.3g} > {new.client_us:.3g}",
        f"{old.server_us:.3g} > {new.server_us:.3g}",
        comparison.verdict,
    )


def table(comparisons: Iterable[Comparison]) -> Iterator[str]:
    yield heading()
    yield from map(row, comparisons)


def _speed(speed: float, *, is_latency: bool) -> str:
    return f"{1_000 / speed:.3g} ms" if is_latency else f"{speed:,.0f}/s"
