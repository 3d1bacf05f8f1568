"""The results as a page of Markdown with plots and a table of targets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.reporting import figure_table, plots
from benchmarks.reporting.results import Results
from benchmarks.reporting.speed_targets import NOT_MEASURED, compared

__all__ = ["target_lines", "write"]

_COLUMNS = "{:<32}{:<16}{:>12}{:>18}   {}"


def write(results: Results, path: Path) -> None:
    """Write the page to *path* and a plot per group into the same folder."""
    for group in results.groups:
        plots.plot(group.capitalize(), results.of_group(group), _plot_of(group, path))
    path.write_text("\n".join(_page(results, path)) + "\n")


def target_lines(results: Results) -> Iterator[str]:
    """Yield the targets that this run measured, for the terminal."""
    yield _COLUMNS.format("TARGET", "against", "wanted", "reached", "").rstrip()
    for target, reached, met in compared(results):
        if reached == NOT_MEASURED:
            continue
        verdict = "" if met else "no"
        yield _COLUMNS.format(target.what, target.against, target.wanted, reached, verdict).rstrip()


def _page(results: Results, path: Path) -> Iterator[str]:
    yield "# Results"
    yield ""
    yield from _conditions(results)
    yield ""
    yield "## Targets"
    yield ""
    yield "| | against | wanted | reached | |"
    yield "|---|---|---:|---:|---|"
    for target, reached, met in compared(results):
        wanted = target.wanted.replace("<=", "≤").replace(">=", "≥")
        verdict = "yes" if met else "no"
        yield f"| {target.what} | {target.against} | {wanted} | {reached} | {verdict} |"
    for group in results.groups:
        yield ""
        yield f"## {group.capitalize()}"
        yield ""
        yield f"![{group}]({_plot_of(group, path).name})"
        yield ""
        yield from figure_table.markdown(results.of_group(group))


def _conditions(results: Results) -> Iterator[str]:
    conditions = results.conditions
    settings = ", ".join(f"{name} {value}" for name, value in conditions.server.items())
    contenders = "; ".join(f"{name}: {what}" for name, what in conditions.contenders.items())
    yield f"`{conditions.command}`, {conditions.date}, on {conditions.machine}, shared by clients"
    yield "and servers."
    yield f"PostgreSQL: {settings}."
    yield f"Contenders: {contenders}."
    yield ""
    yield "Each cell is the median of the rounds, with the least and the most; *bare* is the limit:"
    yield "the same statements from bare psycopg in one loop. See [README](../README.md)."


def _plot_of(group: str, path: Path) -> Path:
    return path.with_name(f"{group}.png")
