"""``make compare BASE=<commit>``: is the present tree slower than a commit?

Both sides run the same workloads in processes of their own, in alternating pairs, each against a
fresh PostgreSQL server with full durability. The exit code is 1 if a workload is surely slower, or
costs more CPU time where its speed decides nothing, or fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.comparing.checkout import ROOT, Side, checked_out, describe, install
from benchmarks.comparing.comparison import STEP, Comparison, parse_round
from benchmarks.comparing.comparison_table import table
from benchmarks.comparing.round_program import WORKLOADS, RoundResult
from benchmarks.comparing.side_servers import SideServers

RESULTS = ROOT / "benchmarks/results/compare.json"

_MOST_PAIRS = 36
_SECONDS = 1.0
_WARM_UP = 0.3


@dataclass(slots=True)
class RunningSide:
    """A side with its own servers; runs a round when called."""

    side: Side
    servers: SideServers
    _dsns: dict[str, str] = field(default_factory=dict)

    def __call__(self, workload: str, *, seconds: float, prepare: bool) -> RoundResult:
        server = self.servers.server(has_standby=WORKLOADS[workload].has_standby)
        if workload not in self._dsns:
            self._dsns[workload] = server.create_database(workload)
        options = ("--prepare",) if prepare else ()
        warm_up = 0.0 if prepare else _WARM_UP
        line = self.side.run(
            workload, self._dsns[workload], server.pids, seconds, warm_up, *options
        )
        if prepare:
            server.vacuum(self._dsns[workload])
        measured = parse_round(line)
        assert Path(measured.source).is_relative_to(self.side.tree), measured.source
        return measured


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparing", description=__doc__)
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument(
        "--only",
        nargs="+",
        default=list(WORKLOADS),
        choices=WORKLOADS,
        metavar="WORKLOAD",
        help=f"some of: {', '.join(WORKLOADS)}",
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=_MOST_PAIRS,
        help=f"most pairs of a workload; its verdict is looked at after every {STEP} of them",
    )
    arguments = parser.parse_args()
    if arguments.pairs < 1:
        parser.error(f"at least one pair, not {arguments.pairs}")
    try:
        base = describe(arguments.base)
    except ValueError as error:
        parser.error(str(error))
    # Else a stopped run would leave its work tree and its servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    comparisons = [Comparison(name, arguments.pairs) for name in arguments.only]
    print(f"base: {base}\nnew:  the present tree, on {describe('HEAD')}", flush=True)
    compare(base.split()[0], comparisons)
    print("\n" + "\n".join(table(comparisons)))
    save(base, comparisons)
    print(f"\nwritten to {os.path.relpath(RESULTS)}")
    if bad := [f"{one.workload} ({one.verdict})" for one in comparisons if one.verdict.is_bad]:
        sys.exit(", ".join(bad))


def compare(base: str, comparisons: Sequence[Comparison]) -> None:
    """Run *comparisons* until each is decided, one pair of each in turn."""
    with running_sides(base) as (old, new):
        for comparison in comparisons:
            print(f"preparing {comparison.workload}", flush=True)
            with noting_failure(comparison):
                comparison.prepare(old, new)
        for number in count(1):
            rest = [comparison for comparison in comparisons if not comparison.is_over]
            if not rest:
                break
            began = time.monotonic()
            ratios = []
            for comparison in rest:
                with noting_failure(comparison):
                    pair = comparison.run_pair(old, new, _SECONDS)
                    ratios.append(f"{comparison.workload} {pair.speed_ratio:.2f}")
            took = time.monotonic() - began
            print(f"pair {number}, {took:.0f} s: {', '.join(ratios)}", flush=True)


@contextmanager
def noting_failure(comparison: Comparison) -> Iterator[None]:
    """Let the other workloads go on if a side fails in this one."""
    try:
        yield
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        comparison.failure = str(error)
        print(f"{comparison.workload}: {error}", flush=True)


@contextmanager
def running_sides(base: str) -> Iterator[tuple[RunningSide, RunningSide]]:
    """Keep both sides installed, with servers, while this lasts: old, new."""
    with ExitStack() as closing:
        code = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="compare-"))).resolve()
        # Not in the folder for temporary files, which is often in memory, where nothing is durable.
        data = Path(
            closing.enter_context(
                tempfile.TemporaryDirectory(prefix="data-", dir=ROOT / "benchmarks")
            )
        )
        trees = {"old": closing.enter_context(checked_out(base, code / "tree")), "new": ROOT}
        old, new = (
            RunningSide(
                Side(name, tree, install(tree, code / f"environment-{name}")),
                closing.enter_context(SideServers(data / name)),
            )
            for name, tree in trees.items()
        )
        yield old, new


def save(base: str, comparisons: Sequence[Comparison]) -> None:
    content: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "base": base,
        "new": f"the present tree, on {describe('HEAD')}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "workloads": {comparison.workload: comparison.as_json() for comparison in comparisons},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
