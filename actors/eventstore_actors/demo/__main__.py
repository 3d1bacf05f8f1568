"""Run the demo: ``python -m eventstore_actors.demo [slice|all] [--data FOLDER]``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from eventstore import EventStoreError
from eventstore_actors.demo.flights import MissingDataError, days_in_february, whole_year
from eventstore_actors.demo.history import history
from eventstore_actors.demo.run import run
from eventstore_actors.demo.screen import Screen
from eventstore_actors.demo.story import BrokenPromiseError
from eventstore_actors.demo.subscriber import SubscriberSilentError

EXPECTED = (BrokenPromiseError, EventStoreError, MissingDataError, OSError, SubscriberSilentError)

FOLDER = "flights-demo"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    screen = Screen.of_stdout()
    try:
        flights = whole_year() if options.flights == "all" else days_in_february()
        right = run(screen, Path(options.data), flights, history(flights))
        return 0 if right else 1
    except BrokenPipeError:
        # The reader is gone, as in `| head`. The interpreter must not write at its exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except EXPECTED as error:
        screen.bad(f"\nThe demo ended early: {error}")
        return 1
    except KeyboardInterrupt:
        screen.line("\nInterrupted. Everything that was started has been stopped.")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eventstore_actors.demo",
        description="Events of real flights through an event store, with a kill in the middle.",
    )
    parser.add_argument(
        "flights",
        nargs="?",
        choices=("slice", "all"),
        default="slice",
        help="slice: five days in February 2013, as shipped; all: the whole year (default: slice)",
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        default=FOLDER,
        help=f"folder of the database, whose events are replaced (default: {FOLDER})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
