"""``make bench``: our store beside bare psycopg, in one run, on a server of its own.

Every contender runs once per round, in turn; shown are medians, least and most. ``QUICK=1`` runs
fewer rounds of less.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bare import Bare
from benchmarks.load import events, new_stream
from benchmarks.measure import Figure, Run, interleaved, timed
from benchmarks.ours import Ours
from eventstore import EventStore, ExpectedVersion
from eventstore.embedded import EmbeddedServer

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Scale:
    """How often, and how much less of everything."""

    rounds: int
    divisor: int


FULL = Scale(rounds=7, divisor=1)
QUICK = Scale(rounds=3, divisor=5)

APPENDS = (
    (1, 1, 500),
    (10, 1, 3_000),
    (100, 1, 6_000),
    (1, 100, 60),
    (10, 100, 200),
    (50, 100, 300),
)
"""Callers at once, events per append, appends of a run."""

READ_EVENTS = 30_000
LATENCIES = 300


@dataclass(frozen=True, slots=True)
class Workload:
    """One line of the table."""

    name: str
    unit: str
    contenders: dict[str, Run]


def workloads(ours: Ours, bare: Bare, store: EventStore, scale: Scale) -> Iterator[Workload]:
    """Yield the workloads, in an order in which each finds what it needs."""
    for callers, number, appends in APPENDS:
        yield append_workload(ours, bare, callers, number, max(callers, appends // scale.divisor))
    for length in (100, 1_000):
        yield read_workload(ours, bare, store, length, READ_EVENTS // length // scale.divisor)
    yield Workload(
        "catch-up, ack per batch",
        "events/s",
        {
            "ours": lambda: rate_of(ours.catch_up),
            "ours, any": lambda: rate_of(lambda: ours.catch_up(batch_by="any")),
            "bare": lambda: rate_of(lambda: bare.read_all_with_checkpoints(500)),
        },
    )
    yield Workload(
        "live latency, p50",
        "ms",
        {
            "ours": lambda: statistics.median(ours.live_latencies(LATENCIES // scale.divisor)),
            "bare": lambda: statistics.median(
                bare.commit_latency() for _ in range(LATENCIES // scale.divisor)
            ),
        },
    )


def append_workload(ours: Ours, bare: Bare, callers: int, number: int, appends: int) -> Workload:
    """Return the appends of *number* events by *callers* at once."""
    total = appends * number
    return Workload(
        f"append {callers} x {number}",
        "events/s",
        {
            "ours": lambda: timed(total, lambda: ours.append(appends, callers, number)),
            "bare": lambda: timed(total, lambda: bare.append(appends // callers, callers, number)),
        },
    )


def read_workload(ours: Ours, bare: Bare, store: EventStore, length: int, reads: int) -> Workload:
    """Return the reads of a stream of *length* events by one reader."""
    stream_id = new_stream()
    store.append_to_stream(stream_id, ExpectedVersion.NO_STREAM, events(length))
    return Workload(
        f"read {length}, 1 reader",
        "events/s",
        {
            "ours": lambda: rate_of(lambda: sum(ours.read_stream(stream_id) for _ in range(reads))),
            "bare": lambda: rate_of(
                lambda: sum(bare.read_stream(stream_id, length) for _ in range(reads))
            ),
        },
    )


def rate_of(work: Callable[[], int]) -> float:
    """Return how many things per second *work* does; it returns how many it did."""
    begun = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - begun)


@contextmanager
def contenders() -> Iterator[tuple[Ours, Bare, EventStore]]:
    """Start a server, our store and bare psycopg beside each other."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        EmbeddedServer.start(Path(folder) / "data") as server,
        EventStore.connect(server.dsn, init=True) as store,
    ):
        bare = Bare(server.dsn, store.config.schema)
        try:
            yield Ours(store), bare, store
        finally:
            bare.close()


def line(workload: Workload, figures: dict[str, Figure]) -> str:
    """Return the row of the table: each contender's median with least and most, and the ratio."""
    shown = "   ".join(
        f"{name} {figure.median:>10,.6g} ({figure.least:,.4g} to {figure.most:,.4g})"
        for name, figure in figures.items()
    )
    ratio = figures["ours"].median / figures["bare"].median
    return f"{workload.name:<26} {workload.unit:<9} {shown}   ours/bare {ratio:.2f}"


def main() -> None:
    scale = QUICK if os.environ.get("QUICK") else FULL
    results: dict[str, dict[str, tuple[float, ...]]] = {}
    with contenders() as (ours, bare, store):
        for workload in workloads(ours, bare, store, scale):
            figures = interleaved(workload.contenders, scale.rounds)
            print(line(workload, figures), flush=True)
            results[f"{workload.name} [{workload.unit}]"] = {
                name: figure.values for name, figure in figures.items()
            }
    RESULTS.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "cores": os.cpu_count()}
    target = RESULTS / ("quick.json" if scale is QUICK else "full.json")
    target.write_text(json.dumps({"machine": machine, "runs": results}, indent=1) + "\n")
    print(f"written to {target.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
