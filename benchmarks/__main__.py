"""``make bench``: every contender in turn, in one run, on one server of its own."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring.workload import FULL, QUICK, Scale
from benchmarks.reporting import figure_table
from benchmarks.reporting.results import Result, Results
from benchmarks.reporting.results_page import target_lines, write
from benchmarks.suite import contenders, run
from benchmarks.suite_progress import Progress
from benchmarks.workloads.registry import GROUPS, Group

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    names = [group.name for group in GROUPS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"some of: {', '.join(names)}")
    parser.add_argument("--redraw", action="store_true", help="write the report of full.json again")
    arguments = parser.parse_args()
    if arguments.redraw:
        write(Results.load(RESULTS / "full.json"), RESULTS / "full.md")
        return
    if unknown := set(arguments.groups) - set(names):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    chosen = [group for group in GROUPS if not arguments.groups or group.name in arguments.groups]
    measure(chosen, QUICK if os.environ.get("QUICK") else FULL)


def measure(groups: Sequence[Group], scale: Scale) -> None:
    """Run *groups*, print each result as soon as it is measured, and save all of them."""
    progress = Progress(groups, scale)
    for name, what in contenders().items():
        print(f"{name:<15}{what}")
    print(f"{', '.join(group.name for group in groups)}: {progress.summary()}", flush=True)
    shown: set[str] = set()

    def show(result: Result) -> None:
        progress.clear()
        group = result.group
        if group not in shown:
            print(f"\n{group.upper()}\n{figure_table.heading()}")
            shown.add(group)
        print("\n".join(figure_table.lines(result)), flush=True)

    results = run(groups, scale, progress, show)
    conclude(results, scale, complete=len(groups) == len(GROUPS))
    if any(result.failed for result in results.results):
        sys.exit("some failed, see above")


def conclude(results: Results, scale: Scale, *, complete: bool) -> None:
    """Compare with the targets and save the results; those of a full run are in the README."""
    print("\n" + "\n".join(target_lines(results)))
    name = scale.name if complete else "partial"
    RESULTS.mkdir(exist_ok=True)
    results.save(RESULTS / f"{name}.json")
    if name == FULL.name:
        write(results, RESULTS / "full.md")
    took = ", ".join(f"{group} {seconds} s" for group, seconds in results.seconds.items())
    print(f"\ntook {took}")
    print(f"written to {os.path.relpath(RESULTS)}/{name}.*")


if __name__ == "__main__":
    main()
