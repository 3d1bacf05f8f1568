"""Questions before what cannot be undone."""

from __future__ import annotations

import sys

from eventstore.cli.failures import RefusedError, UsageError

__all__ = ["ask", "check_can_ask"]


def check_can_ask(command: str) -> None:
    """Return if somebody can answer.

    Raises:
        UsageError: The standard input is not a terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{command} asks first: use --yes where nobody can answer")


def ask(question: str) -> None:
    """Return if the user answers yes.

    Raises:
        RefusedError: The user answered something else.
    """
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print(file=sys.stderr)
    if answer.strip().lower() not in {"y", "yes"}:
        raise RefusedError("nothing was done")
