"""The figures in the README are those of the last full run of the benchmarks."""

from __future__ import annotations

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
