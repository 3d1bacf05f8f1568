"""Turn an error into an exit code and one line on the standard error."""

from __future__ import annotations

import sys
from enum import IntEnum

from eventstore.cli.output import one_line
from eventstore.model.dsn import scrubbed
from eventstore.model.errors import (
    EventStoreError,
    OutcomeUnknownError,
    SchemaVersionError,
    StorageUnavailableError,
)

__all__ = ["ExitCode", "RefusedError", "UsageError", "complain", "exit_code", "reason"]


class ExitCode(IntEnum):
    """Exit codes of the command line."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    AWAY = 3
    SCHEMA = 4
    INTERRUPTED = 130
    PIPE_CLOSED = 141


class UsageError(ValueError):
    """The arguments cannot be used."""


class RefusedError(Exception):
    """The command was refused; the message says why."""


_EXIT_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (SchemaVersionError, ExitCode.SCHEMA),
    (StorageUnavailableError, ExitCode.AWAY),
    (OutcomeUnknownError, ExitCode.AWAY),
    (EventStoreError, ExitCode.REFUSED),
    (RefusedError, ExitCode.REFUSED),
    (OSError, ExitCode.REFUSED),
    (ValueError, ExitCode.USAGE),
    (TypeError, ExitCode.USAGE),
)
"""Exit codes by type of error: the first match counts, the default is REFUSED."""


def exit_code(error: Exception) -> ExitCode:
    """Return the exit code of a command that raised *error*."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), ExitCode.REFUSED)


def reason(error: Exception) -> str:
    """Return the message for *error*; an unexpected one is named by its type."""
    known = isinstance(error, tuple(kind for kind, _ in _EXIT_CODES))
    text = getattr(error, "strerror", None) or str(error)
    return text if known and text else f"unexpected {type(error).__name__}: {text}"


def complain(message: str) -> None:
    """Print *message* as one line on the standard error, without passwords."""
    print(f"eventstore: {one_line(scrubbed(message))}", file=sys.stderr)
