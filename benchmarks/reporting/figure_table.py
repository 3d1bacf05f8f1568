"""Results as text, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.measuring.measure import Figure
from benchmarks.reporting.results import Result

__all__ = ["heading", "lines", "markdown", "number"]

_COLUMNS = "{:<22}{:>11}  {:<22}{:>9}{:>9}{:>9}{:>9}"


def heading() -> str:
    """Return the column headings, 91 characters wide."""
    return _COLUMNS.format("", "median", "least to most", "p50 ms", "p99 ms", "CPU us", "x ours")


def lines(result: Result) -> Iterator[str]:
    """Yield the name of a workload, then a line per contender."""
    yield f"{result.name}, {result.unit}"
    for name, figure in result.figures.items():
        yield _COLUMNS.format(
            f"  {name}",
            number(figure.median),
            f"{number(figure.least)} to {number(figure.most)}",
            *_details(figure),
            _times(result.ratio(name, "ours")),
        ).rstrip()
        yield from (f"    {what}: {number(value)}" for what, value in figure.extra.items())
    yield from (f"  {name:<18}failed: {why}" for name, why in result.failed.items())


def markdown(results: Sequence[Result]) -> Iterator[str]:
    """Yield the tables of one group: the figures, then latency and CPU time."""
    names = list(dict.fromkeys(name for result in results for name in result.figures))
    yield from _table(
        ["", "unit", *names, "ours ÷ bare"],
        (
            [
                result.name,
                result.unit,
                *(_median(result.figures.get(name)) for name in names),
                _times(result.ratio("ours", "bare")),
            ]
            for result in results
        ),
    )
    for result in results:
        yield from (f"\n{result.name}: {name} failed, {why}" for name, why in result.failed.items())
    yield ""
    yield "<details><summary>Latency p50 / p99 in ms, CPU of the client in µs per event</summary>"
    yield ""
    yield from _table(
        ["", *names],
        ([result.name, *(_cost(result.figures.get(name)) for name in names)] for result in results),
    )
    yield ""
    yield "</details>"


def number(value: float) -> str:
    """Return *value* with at least three significant digits and separated thousands."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|---:" * (len(head) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _median(figure: Figure | None) -> str:
    if figure is None:
        return ""
    return f"**{number(figure.median)}** ({number(figure.least)} to {number(figure.most)})"


def _cost(figure: Figure | None) -> str:
    if figure is None:
        return ""
    p50, p99, cpu = _details(figure)
    return " · ".join(part for part in (f"{p50} / {p99}" if p50 else "", cpu) if part)


def _details(figure: Figure) -> tuple[str, str, str]:
    known = (figure.latency_ms.get("p50"), figure.latency_ms.get("p99"), figure.cpu_us_per_event)
    p50, p99, cpu = ("" if value is None else number(value) for value in known)
    return p50, p99, cpu


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
