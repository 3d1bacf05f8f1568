"""The table of a comparison, for the terminal. Pure: from contests to lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.comparing.contest import Contest
from benchmarks.comparing.player import WORKLOADS

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


def row(contest: Contest) -> str:
    speed, old, new = contest.speed, contest.old, contest.new
    is_latency = WORKLOADS[contest.workload].is_latency
    return _COLUMNS.format(
        contest.workload,
        _speed(old.speed, is_latency=is_latency),
        _speed(new.speed, is_latency=is_latency),
        f"{speed.median:.3f}",
        f"{speed.low:.3f} - {speed.high:.3f}",
        len(contest.pairs),
        f"{old.client_us:.3g} > {new.client_us:.3g}",
        f"{old.server_us:.3g} > {new.server_us:.3g}",
        contest.verdict,
    )


def table(contests: Iterable[Contest]) -> Iterator[str]:
    yield heading()
    yield from map(row, contests)


def _speed(speed: float, *, is_latency: bool) -> str:
    return f"{1_000 / speed:.3g} ms" if is_latency else f"{speed:,.0f}/s"
