"""The benchmarks run, every one of them, so that a change of the store cannot let them rot."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.contenders.arena import KINDS, Arena
from benchmarks.measuring.measure import Figure, interleaved, percentile, spell, together
from benchmarks.measuring.workload import FULL, SMOKE, Better, Measurement, Round, Run, Workload
from benchmarks.reporting import figure_table, results_page
from benchmarks.reporting.results import Conditions, Result, Results
from benchmarks.reporting.speed_targets import TARGETS, Target
from benchmarks.workloads.registry import GROUPS
from eventstore.embedded import EmbeddedServer

MISSING = {kind.name: reason for kind in KINDS if (reason := kind.missing())}
CONDITIONS = Conditions.of(FULL, {}, {})


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_workload_runs_and_every_target_is_measured(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    results = Results(CONDITIONS)
    for group in GROUPS:
        with Arena(SMOKE, server.dsn, tmp_path) as arena:
            for workload in group.workloads(arena):
                figures = interleaved(workload, SMOKE, lambda *_: None, raised)
                results.results.append(Result.of(workload, figures, {}))
    assert list(tmp_path.iterdir()) == []
    assert unmeasured(results) == []
    for result in results.results:
        assert result.figures["ours"].median > 0, result.name
        assert list(figure_table.lines(result)), result.name


def raised(_: str, error: Exception) -> None:
    raise error


def unmeasured(results: Results) -> list[str]:
    """Return the targets that found nothing to look at, but for contenders that are missing."""
    return [
        f"{target.what} against {target.against}"
        for target in TARGETS
        if target.against not in MISSING and target.reached(results) is None
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_contender_is_installed_or_says_what_is_missing(kind: type) -> None:
    if reason := MISSING.get(kind.name):  # type: ignore[attr-defined]
        pytest.skip(f"{reason}: make bench installs it")


def test_rounds_are_interleaved_and_the_warm_up_does_not_count() -> None:
    order = []

    def run_of(name: str) -> Run:
        def run(round_: Round) -> Measurement:
            order.append(name)
            return Measurement(float(round_.number))

        return run

    workload = example({name: run_of(name) for name in ("ours", "bare")})
    scale = replace(SMOKE, rounds=3, warm_up=True)
    figures = interleaved(workload, scale, lambda *_: None, raised)
    assert figures["ours"].values == (1, 2, 3)
    assert figures["bare"].median == 2
    assert order == ["ours", "bare", "bare", "ours"] * 2


def test_who_fails_takes_no_further_part_and_the_others_go_on() -> None:
    def fail(round_: Round) -> Measurement:
        raise RuntimeError(f"round {round_.number}")

    failed: dict[str, str] = {}
    workload = example({"umadb": fail, "ours": lambda _: Measurement(7)})
    figures = interleaved(
        workload,
        replace(SMOKE, rounds=3),
        lambda *_: None,
        lambda name, error: failed.update({name: str(error)}),
    )
    assert failed == {"umadb": "round 1"}
    assert {name: figure.values for name, figure in figures.items()} == {"ours": (7, 7, 7)}
    result = Result.of(workload, figures, failed)
    assert "failed: round 1" in "\n".join(figure_table.lines(result))
    assert "umadb failed, round 1" in "\n".join(figure_table.markdown([result]))


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([3.0, 1.0, 2.0, 4.0], 50) == 2
    assert percentile([float(n) for n in range(1, 101)], 99) == 99
    assert percentile([5.0], 99) == 5
    assert percentile([1.0, 2.0], 100) == 2


def test_callers_work_at_the_same_time_each_at_least_once() -> None:
    done: list[int] = []
    measured = spell([lambda: done.append(1), lambda: done.append(2)], seconds=0)
    assert sorted(done) == [1, 2]
    assert len(measured.latencies) == 2
    assert together([measured], 10).operations == 20
    assert together([replace(measured, callers_at_once=5)], 10).operations == 100
    assert measured.ended >= measured.began


def test_a_ratio_says_how_many_times_better_whichever_way_that_is() -> None:
    figures = {"ours": figure(4), "bare": figure(2)}
    assert Result.of(example({}), figures, {}).ratio("ours", "bare") == 2
    assert Result.of(example({}, better="lower"), figures, {}).ratio("ours", "bare") == 0.5
    assert Result.of(example({}), figures, {}).ratio("ours", "umadb") is None


@pytest.mark.parametrize(
    ("target", "figure", "met"),
    [
        (Target("speed", "bare", 0.8, lambda _: None), 0.8, True),
        (Target("speed", "bare", 0.8, lambda _: None), 0.79, False),
        (Target("memory", "itself", 150, lambda _: None, at_most=True), 150, True),
        (Target("memory", "itself", 150, lambda _: None, at_most=True), 151, False),
        (Target("speed", "bare", 0.8, lambda _: None), None, False),
    ],
)
def test_a_target_is_met_at_its_bound(target: Target, figure: float | None, met: bool) -> None:
    assert target.met(figure) is met


def test_the_other_contender_counts_with_its_best_way() -> None:
    results = Results(CONDITIONS)
    for name, ours, other in (("100 x 1", 1_200, 100), ("4 processes of 25 x 1", 1, 120)):
        figures = {"ours": figure(ours), "eventsourcing": figure(other)}
        results.results.append(Result.of(example({}, name=name), figures, {}))
    [target] = [t for t in TARGETS if (t.what, t.against) == ("append 100 x 1", "eventsourcing")]
    assert target.reached(results) == 10


@pytest.mark.skipif(not find_spec("matplotlib"), reason="matplotlib: make bench installs it")
def test_the_report_shows_every_value_and_names_the_machine(tmp_path: Path) -> None:
    results = Results(CONDITIONS)
    figures = {"ours": figure(4, 9, 5), "bare": figure(20_000)}
    results.results.append(Result.of(example({}), figures, {}))
    results.save(tmp_path / "full.json")
    results_page.write(results, tmp_path / "full.md")

    assert Results.load(tmp_path / "full.json") == results
    assert results.results[0].figures["ours"].values == (4, 9, 5)
    assert str(os.cpu_count()) in results.conditions.machine
    page = (tmp_path / "full.md").read_text()
    assert "| **5** (4 to 9) | **20,000** (20,000 to 20,000) |" in page
    assert "| append 1 x 1 | Elixir |" in page
    plot = (tmp_path / "append.png").read_bytes()
    assert plot.startswith(b"\x89PNG")

    results_page.write(Results.load(tmp_path / "full.json"), tmp_path / "full.md")
    assert (tmp_path / "append.png").read_bytes() == plot


def example(
    contenders: Mapping[str, Run], name: str = "10 x 1", better: Better = "higher"
) -> Workload:
    return Workload(
        name=name, group="append", unit="events/s", better=better, contenders=contenders
    )


def figure(*values: float) -> Figure:
    return Figure.of([Measurement(value) for value in values])
