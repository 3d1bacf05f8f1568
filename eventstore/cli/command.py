"""What a command of the command line is: a name, help, arguments, and a function to run.

A module that defines commands imports nothing heavy at its top, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from eventstore.model.names import MAX_POSITION

if TYPE_CHECKING:
    from eventstore import Config, EventStore
    from eventstore.cli.output import Output

__all__ = [
    "Command",
    "Run",
    "event_id",
    "expected_version",
    "no_arguments",
    "on_store",
    "one_or_more",
    "zero_or_more",
]

Run = Callable[[argparse.Namespace, "Config", "Output"], None]
"""Runs a command with its options."""


def no_arguments(_parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no arguments of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command, or a group of them."""

    name: str
    about: str
    """One line of help, in lower case and without a full stop."""
    details: str | None = None
    """Text below the arguments in the help of the command."""
    add_arguments: Callable[[argparse.ArgumentParser], None] = no_arguments
    run: Run | None = None
    """None for a group."""
    actions: tuple[Command, ...] = ()
    """The commands of a group."""


def on_store(run: Callable[[argparse.Namespace, EventStore, Output], None]) -> Run:
    """Return a command's `run` that opens the store, calls *run* with it, and closes it.

    A store that is missing is not created: the user may have mistyped its place.
    """

    def opening(options: argparse.Namespace, config: Config, out: Output) -> None:
        from eventstore.cli.store_options import opened

        with opened(config, creates=False) as store:
            run(options, store, out)

    return opening


def event_id(text: str) -> UUID:
    """Return the id that an argument gives.

    Raises:
        argparse.ArgumentTypeError: It is not a UUID.
    """
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a UUID: {text!r}") from None


def expected_version(text: str) -> int:
    """Return the expected version that an argument gives.

    Raises:
        argparse.ArgumentTypeError: It is neither a version nor the name of an `ExpectedVersion`.
    """
    from eventstore import ExpectedVersion

    named = {each.name.lower().replace("_", "-"): each for each in ExpectedVersion}
    if text in named:
        return named[text]
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= MAX_POSITION):
        raise argparse.ArgumentTypeError(
            f"must be a version (0 or more), {', '.join(named)}: {text!r}"
        )
    return int(text)


def one_or_more(text: str) -> int:
    """Return the number that an argument gives.

    Raises:
        argparse.ArgumentTypeError: It is not a number from 1 to the highest position.
    """
    return _number(text, least=1)


def zero_or_more(text: str) -> int:
    """Return the number that an argument gives.

    Raises:
        argparse.ArgumentTypeError: It is not a number from 0 to the highest position.
    """
    return _number(text, least=0)


def _number(text: str, *, least: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) <= MAX_POSITION):
        raise argparse.ArgumentTypeError(f"must be a number, {least} or more: {text!r}")
    return int(text)
