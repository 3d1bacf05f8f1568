"""The figures in the project's README, as a table of Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.reporting.elixir import LIVE_MS, PER_SECOND
from benchmarks.reporting.figure_table import number
from benchmarks.reporting.results import Result, Results

__all__ = ["summary"]

_CONTENDERS = ("ours", "bare", "eventsourcing", "emmett", "umadb")

_ROWS = (
    ("append 1 x 1", "append", "1 x 1", "append 1 x 1"),
    ("append 10 x 1", "append", "10 x 1", "append 10 x 1"),
    ("append 100 x 1", "append", "100 x 1", "append 100 x 1"),
    ("append 1 x 100", "append", "1 x 100", "append 1 x 100"),
    ("append 10 x 100", "append", "10 x 100", "append 10 x 100"),
    ("append 50 x 100", "append", "50 x 100", "append 50 x 100"),
    ("read a stream of 100", "read", "stream of 100, 1 reader", "read 100, 1 reader"),
    ("the same, 100 readers", "read", "stream of 100, 100 readers", "read 100, 100 readers"),
    (
        "catch up, acknowledged",
        "subscribe",
        "100,000 events, 1 at once [100 per stream]",
        "catch-up, default options",
    ),
    ("live, p50 in ms", "live", "100 appends/s, 1 x actor", None),
)
"""Label, group, workload, and name of Elixir's figure."""


def summary(results: Results) -> Iterator[str]:
    """Yield a row per workload that was run, with the median of each contender."""
    yield "| events per second | " + " | ".join(_CONTENDERS) + " | Elixir, elsewhere |"
    yield "|---" + "|---:" * (len(_CONTENDERS) + 1) + "|"
    for label, group, name, elsewhere in _ROWS:
        for result in results.of_group(group):
            if result.name == name:
                elixir, _ = LIVE_MS if elsewhere is None else PER_SECOND[elsewhere]
                cells = [_cell(result, contender) for contender in _CONTENDERS]
                yield f"| {label} | " + " | ".join([*cells, number(elixir)]) + " |"


def _cell(result: Result, contender: str) -> str:
    figure = result.figures.get(contender)
    text = "" if figure is None else number(figure.median)
    return f"**{text}**" if contender == "ours" else text
