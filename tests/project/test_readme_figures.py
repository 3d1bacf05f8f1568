"""The figures in the README are those of the last full run of the benchmarks."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.reporting.readme_summary import summary
from benchmarks.reporting.results import Results

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_what_was_measured() -> None:
    results = Results.load(ROOT / "benchmarks/results/full.json")
    table = list(summary(results))
    assert len(table) > 10
    assert "\n".join(table) in (ROOT / "README.md").read_text()


def test_it_says_when_and_where() -> None:
    conditions = Results.load(ROOT / "benchmarks/results/full.json").conditions
    readme = (ROOT / "README.md").read_text()
    assert conditions.date in readme
    assert conditions.machine.partition(",")[0] in readme


def test_the_results_stay_small_and_every_plot_is_shown() -> None:
    folder = ROOT / "benchmarks/results"
    page = (folder / "full.md").read_text()
    plots = sorted(folder.glob("*.png"))
    assert [plot.name for plot in plots if f"]({plot.name})" not in page] == []
    assert set(Results.load(folder / "full.json").groups) == {plot.stem for plot in plots}
    assert [plot.name for plot in plots if plot.stat().st_size > 70_000] == []
    assert len((folder / "full.json").read_text().splitlines()) < 1_000


def test_the_plots_that_the_readme_shows_are_there() -> None:
    shown = re.findall(r"!\[.*?\]\((benchmarks/results/.*?)\)", (ROOT / "README.md").read_text())
    assert shown
    assert [path for path in shown if not (ROOT / path).exists()] == []
