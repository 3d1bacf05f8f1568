"""Tortures a store, prints figures and the seed, exits with 1 if a guarantee was broken."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.torture.mutations import FAULTS, Mutation
from tests.torture.plan import plan
from tests.torture.report import reasons, report
from tests.torture.stage import possible_kinds, torture
from tests.torture.verdict import verdict


def main() -> int:
    """Run with the options of the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="duration of the faults")
    parser.add_argument("--seed", type=int, default=1, help="seed of the schedule")
    parser.add_argument("--writers", type=int, default=3, help="processes that append")
    parser.add_argument("--readers", type=int, default=3, help="processes with subscriptions")
    parser.add_argument("--mutation", type=Mutation, choices=list(Mutation), help="break the build")
    parser.add_argument("--journals", type=Path, help="keep the journals in this new folder")
    options = parser.parse_args()
    if options.journals is not None:
        options.journals.mkdir(parents=True)
        return run(options, options.journals)
    with TemporaryDirectory(prefix="torture-") as folder:
        return run(options, Path(folder))


def run(options: argparse.Namespace, folder: Path) -> int:
    """Torture, judge, report."""
    print(f"seed         {options.seed}: {options.seconds:g} s of faults begin", flush=True)
    kinds = FAULTS[options.mutation] if options.mutation else possible_kinds()
    evidence = torture(
        plan(options.seed, options.seconds, kinds),
        folder,
        seed=options.seed,
        writers=options.writers,
        readers=options.readers,
        mutation=options.mutation,
    )
    violations = verdict(evidence)
    print(*report(evidence), sep="\n")
    print(*(reasons(violations) if violations else ["every guarantee held"]), sep="\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
