"""A comparison of two commits: what its pairs say, and that a round measures."""

from __future__ import annotations

import math
import random
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from benchmarks.comparing.__main__ import noting_failure
from benchmarks.comparing.checkout import ROOT, Side
from benchmarks.comparing.comparison import STEP, Comparison, Pair, parse_round
from benchmarks.comparing.comparison_table import table
from benchmarks.comparing.delay_line import DelayLine
from benchmarks.comparing.ratios import Estimate, Verdict, estimate, judge
from benchmarks.comparing.round_program import WORKLOADS, RoundResult
from benchmarks.comparing.side_servers import ROUND_TRIP, SideServer, SideServers
from eventstore.embedded import EmbeddedServer


def around(center: float, spread: float, number: int = 36) -> list[float]:
    drawing = random.Random(1)
    return [center * math.exp(drawing.gauss(0, spread)) for _ in range(number)]


def measured(speed: float, cpu: float = 10.0) -> RoundResult:
    return RoundResult(speed, client_us=cpu / 2, server_us=cpu / 2, source="/somewhere")


class Scripted:
    """A side that runs at given speeds and notes each round in a list of both sides."""

    def __init__(self, name: str, order: list[str], speeds: list[float], cpu: float = 10.0) -> None:
        self._name = name
        self._order = order
        self._speeds = iter(speeds)
        self._cpu = cpu

    def __call__(self, workload: str, *, seconds: float, prepare: bool) -> RoundResult:
        self._order.append(self._name)
        return measured(next(self._speeds), self._cpu)


def comparison_of(ratios: list[float], *, most_pairs: int, cpu_ratio: float = 1.0) -> Comparison:
    comparison = Comparison("append-1x1", most_pairs)
    comparison.pairs += [Pair(measured(1), measured(ratio, 10 * cpu_ratio)) for ratio in ratios]
    return comparison


# ── statistics ───────────────────────────────────────────────────────────────────────────────────


def test_the_estimate_is_the_median_within_its_interval_and_can_be_repeated() -> None:
    ratios = around(0.8, 0.1)
    found = estimate(ratios)
    assert found.low < found.median < found.high
    assert found.low > 0.75
    assert found.high < 0.85
    assert estimate(ratios) == found


def test_the_interval_holds_the_true_ratio_in_about_nine_of_ten_cases() -> None:
    drawing = random.Random(7)
    held = 0
    for _ in range(60):
        found = estimate([math.exp(drawing.gauss(0, 0.2)) for _ in range(15)])
        held += found.low <= 1 <= found.high
    assert 48 <= held <= 60


def test_more_pairs_narrow_the_interval() -> None:
    few, many = estimate(around(1, 0.1, 9)), estimate(around(1, 0.1, 144))
    assert many.high - many.low < (few.high - few.low) / 2


@pytest.mark.parametrize(
    ("low", "median", "high", "is_wide"),
    [
        (0.96, 1.0, 1.04, False),
        (0.94, 1.0, 1.01, True),
        (0.99, 1.0, 1.06, True),
        (1.91, 2.0, 2.09, False),
    ],
)
def test_an_interval_is_wide_beyond_five_percent_of_its_median(
    low: float, median: float, high: float, *, is_wide: bool
) -> None:
    assert Estimate(median, low, high).is_wide is is_wide


# ── verdicts ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("low", "median", "high", "verdict"),
    [
        (0.80, 0.90, 0.949, Verdict.SURELY_SLOWER),
        (0.80, 0.90, 0.951, Verdict.UNDECIDED),
        (0.92, 0.93, 0.96, Verdict.AS_FAST),
        (0.96, 1.05, 1.20, Verdict.AS_FAST),
        (1.01, 1.30, 1.60, Verdict.SURELY_FASTER),
    ],
)
def test_the_upper_end_of_the_interval_decides(
    low: float, median: float, high: float, verdict: Verdict
) -> None:
    assert judge(Estimate(median, low, high), cpu_ratio=1.5, is_last=False) is verdict


@pytest.mark.parametrize(
    ("cpu_ratio", "verdict"), [(1.05, Verdict.AS_FAST_BY_CPU), (1.06, Verdict.SLOWER_BY_CPU)]
)
def test_where_the_speed_stays_undecided_the_cpu_time_decides(
    cpu_ratio: float, verdict: Verdict
) -> None:
    assert judge(Estimate(0.97, 0.85, 1.1), cpu_ratio, is_last=True) is verdict


def test_a_comparison_fails_where_a_side_is_slower_costs_more_or_fails() -> None:
    bad = {verdict for verdict in Verdict if verdict.is_bad}
    assert bad == {Verdict.SURELY_SLOWER, Verdict.SLOWER_BY_CPU, Verdict.FAILED}


# ── pairs ────────────────────────────────────────────────────────────────────────────────────────


def test_the_side_that_begins_changes_and_each_round_counts_for_its_own_side() -> None:
    order: list[str] = []
    old, new = Scripted("old", order, [1, 2, 3]), Scripted("new", order, [2, 6, 3])
    comparison = Comparison("append-1x1", most_pairs=36)
    ratios = [comparison.run_pair(old, new, 1.0).speed_ratio for _ in range(3)]
    assert order == ["old", "new", "new", "old", "old", "new"]
    assert ratios == [2, 3, 1]
    assert comparison.speed.median == 2


def test_the_cpu_time_of_client_and_server_counts_together() -> None:
    old, new = RoundResult(1, 10, 30, ""), RoundResult(1, 30, 20, "")
    assert Pair(old, new).cpu_ratio == 1.25


def test_a_decided_workload_needs_no_more_pairs_an_undecided_one_goes_on_to_the_most() -> None:
    surely = comparison_of([1.0] * STEP, most_pairs=36)
    assert surely.is_over
    wide = [0.8, 1.2] * 18
    assert not comparison_of(wide[:STEP], most_pairs=36).is_over
    assert not comparison_of(wide[: 3 * STEP], most_pairs=36).is_over
    assert comparison_of(wide, most_pairs=36).is_over
    assert comparison_of(wide, most_pairs=36, cpu_ratio=1.2).verdict is Verdict.SLOWER_BY_CPU


def test_between_two_looks_no_workload_ends() -> None:
    assert not comparison_of([1.0] * (STEP + 1), most_pairs=36).is_over
    assert not comparison_of([], most_pairs=36).is_over


def test_few_pairs_allow_no_verdict() -> None:
    comparison = comparison_of([0.5] * (STEP - 1), most_pairs=STEP - 1)
    assert comparison.is_over
    assert comparison.verdict is Verdict.TOO_FEW_PAIRS
    assert comparison_of([0.5] * STEP, most_pairs=STEP).verdict is Verdict.SURELY_SLOWER


def test_a_failed_workload_is_over_and_the_others_go_on() -> None:
    failed, other = Comparison("live", 36), comparison_of([1.0], most_pairs=36)
    with noting_failure(failed):
        raise RuntimeError("old failed: no such option")
    assert failed.is_over
    assert failed.verdict is Verdict.FAILED
    assert failed.as_json() == {"verdict": "failed", "failure": "old failed: no such option"}
    assert not other.is_over
    assert [line.split()[0] for line in table([failed, other])][1:] == ["live", "append-1x1"]


def test_the_table_shows_latencies_as_times_and_the_rest_as_rates() -> None:
    rate, latency = comparison_of([2.0] * STEP, most_pairs=STEP), Comparison("live", STEP)
    latency.pairs += [Pair(measured(500), measured(1_000))] * STEP
    heading, first, second = table([rate, latency])
    assert heading.split()[:3] == ["workload", "base", "new"]
    assert first.split()[:4] == ["append-1x1", "1/s", "2/s", "2.000"]
    assert second.split()[:6] == ["live", "2", "ms", "1", "ms", "2.000"]
    assert second.endswith("surely faster")


# ── a round ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def empty_database(server: EmbeddedServer) -> Iterator[str]:
    name = f"compare_{uuid4().hex[:12]}"
    yield SideServer(server.dsn, (server.pid,)).create_database(name)
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


@pytest.mark.slow
@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_runs_in_a_process_of_its_side(
    workload: str, server: EmbeddedServer, empty_database: str
) -> None:
    side = Side("new", ROOT, Path(sys.executable))
    line = side.run(workload, empty_database, server.pid, 0.05, 0.0, "--prepare")
    found = parse_round(line)
    assert found.speed > 0
    assert found.client_us > 0
    assert Path(found.source) == ROOT / "eventstore/__init__.py"


def test_a_side_that_fails_says_why(server: EmbeddedServer) -> None:
    side = Side("old", ROOT, Path(sys.executable))
    with pytest.raises(RuntimeError, match=r"(?s)old failed.*SchemaVersionError"):
        side.run("append-1x1", server.dsn, server.pid, 0.05, 0.0)


# ── the distant standby ──────────────────────────────────────────────────────────────────────────


def test_a_delay_line_adds_its_round_trip_and_passes_everything_on(tmp_path: Path) -> None:
    path = str(tmp_path / "echo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        with DelayLine(path, round_trip=0.1) as line:
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", line.port)) as near:
                far, _ = listening.accept()
                with far:
                    for number in range(50):
                        near.sendall(bytes([number]))
                    far.sendall(_received(far, 50))
                    assert _received(near, 50) == bytes(range(50))
                    assert time.monotonic() - began >= 0.1
                near.settimeout(10)
                assert near.recv(1) == b""  # the end is passed on, too


def _received(end: socket.socket, number: int) -> bytes:
    end.settimeout(10)
    data = b""
    while len(data) < number:
        data += end.recv(number)
    return data


@pytest.mark.slow
def test_commits_wait_for_the_distant_standby(tmp_path: Path) -> None:
    with SideServers(tmp_path / "old") as servers:
        server = servers.server(has_standby=True)
        assert servers.server(has_standby=True) is server
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            for number in range(3):
                began = time.monotonic()
                connection.execute(
                    sql.SQL("CREATE TABLE {} ()").format(sql.Identifier(str(number)))
                )
                assert time.monotonic() - began >= ROUND_TRIP
