"""Makes each mutant and runs the tests that have to notice; ends with 1 if one survives."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.workshop import Workshop

KILLED, SURVIVED, BROKEN = "killed", "SURVIVED", "BROKEN"
"""Broken: no test failed, but pytest did not get through either. It proves nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants named in *arguments*, or all."""
    mutants, jobs = _chosen(arguments)
    with ExitStack() as closing:
        workshops = [closing.enter_context(Workshop()) for _ in range(jobs)]
        for workshop in workshops:
            workshop.prove_that_the_copy_is_imported()
        if not _passes_unmutated(workshops[0], mutants):
            return 1
        verdicts = _verdicts(workshops, mutants)
    killed = verdicts.count(KILLED)
    _say(f"{len(mutants)} mutants, {killed} killed, {len(mutants) - killed} not")
    return 0 if killed == len(mutants) else 1


def _chosen(arguments: Sequence[str] | None) -> tuple[list[Mutant], int]:
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="ID", help="default: all")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at once; default: 2")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in by_name]:
        parser.error(f"no such mutant: {', '.join(unknown)}")
    return [by_name[name] for name in options.names or by_name], max(options.jobs, 1)


def _passes_unmutated(workshop: Workshop, mutants: Sequence[Mutant]) -> bool:
    """Tell whether every test passes that a mutant names: else its failure would prove nothing."""
    tests = sorted({test for mutant in mutants for test in mutant.killers})
    start = time.monotonic()
    run = workshop.run_tests(tests)
    if not run.passed:
        _say(f"these tests have to pass before anything is mutated:\n{run.output}")
        return False
    _say(f"unmutated, {len(tests)} selections of tests pass ({time.monotonic() - start:.0f} s)")
    return True


def _verdicts(workshops: Iterable[Workshop], mutants: Sequence[Mutant]) -> list[str]:
    """Judge every mutant, each in a workshop that nobody else uses meanwhile."""
    free: SimpleQueue[Workshop] = SimpleQueue()
    for workshop in workshops:
        free.put(workshop)

    def judge(mutant: Mutant) -> str:
        workshop = free.get()
        try:
            return _verdict(workshop, mutant)
        finally:
            free.put(workshop)

    with ThreadPoolExecutor(free.qsize()) as pool:
        return list(pool.map(judge, mutants))


def _verdict(workshop: Workshop, mutant: Mutant) -> str:
    start = time.monotonic()
    with workshop.mutated(mutant):
        run = workshop.run_tests(mutant.killers)
    failure = run.first_failure
    verdict = SURVIVED if run.passed else KILLED if failure else BROKEN
    seconds = time.monotonic() - start
    why = f"by {failure}" if failure else run.output if verdict == BROKEN else "by no test"
    _say(
        f"{verdict:8}  {seconds:4.1f} s  {mutant.guarantee:4} {mutant.name}: {mutant.breaks}\n"
        f"                       {why}"
    )
    return verdict


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line prints


if __name__ == "__main__":
    sys.exit(main())
