"""Runs all groups of workloads, one after the other, on one server."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.contenders.arena import KINDS, Arena
from benchmarks.measuring.measure import interleaved
from benchmarks.measuring.workload import Scale, Workload
from benchmarks.reporting.results import Conditions, Result, Results
from benchmarks.suite_progress import Progress
from benchmarks.workloads.registry import Group
from eventstore.embedded import EmbeddedServer

__all__ = ["contenders", "run"]

_SETTINGS = {"max_connections": "300"}
"""Four processes of every contender, each with its default pool; other settings are defaults."""
_SHOWN_SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "shared_buffers",
    "max_connections",
)


def run(
    groups: Sequence[Group], scale: Scale, progress: Progress, told: Callable[[Result], object]
) -> Results:
    """Run *groups* and return all results; call *told* with each as soon as it is measured."""
    with _server() as (dsn, folder):
        results = Results(Conditions.of(scale, contenders(), _settings(dsn)))
        for group in groups:
            progress.begin(group)
            for result in _results(group, scale, dsn, folder, progress):
                results.results.append(result)
                told(result)
            results.seconds[group.name] = round(progress.end())
        return results


def _results(
    group: Group, scale: Scale, dsn: str, folder: Path, progress: Progress
) -> Iterator[Result]:
    progress.show("preparing")
    with Arena(scale, dsn, folder) as arena:
        for workload in group.workloads(arena):
            yield _result(workload, scale, progress)
            progress.show("preparing")


def _result(workload: Workload, scale: Scale, progress: Progress) -> Result:
    def began(contender: str, number: int, rounds: int) -> None:
        turn = f"round {number} of {rounds}" if number else "warm-up"
        progress.show(f"{workload.name}: {contender}, {turn}")

    failures: dict[str, str] = {}

    def failed(contender: str, error: Exception) -> None:
        progress.clear()
        traceback.print_exception(error)
        failures[contender] = repr(error)

    figures = interleaved(workload, scale, began, failed)
    return Result.of(workload, figures, failures)


@contextmanager
def _server() -> Iterator[tuple[str, Path]]:
    """Start a server with PostgreSQL's defaults; yield its DSN and a folder on the same disk."""
    # The system's folder for temporary files is often in memory, where nothing is durable.
    with tempfile.TemporaryDirectory(prefix="data-", dir=Path(__file__).parent) as name:
        folder = Path(name)
        with EmbeddedServer.start(folder / "server", settings=_SETTINGS) as server:
            places = folder / "places"
            places.mkdir()
            yield server.dsn, places


def contenders() -> dict[str, str]:
    """Return the version of each contender, or why it is skipped."""
    return {kind.name: kind.missing() or kind.version() for kind in KINDS}


def _settings(dsn: str) -> dict[str, str]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return {
            name: value
            for name in _SHOWN_SETTINGS
            for (value,) in connection.execute(f"SHOW {name}")
        }
