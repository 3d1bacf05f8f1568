"""The command line. It composes the library's parts, and nothing imports it.

Each command loads what it needs when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The command and its arguments. Defaults to those of the process.

    Returns:
        The exit code: 0 done, 1 refused, 2 wrong usage, 3 database away, 4 schema version,
        130 interrupted, 141 the reader of the output has closed the pipe.
    """
    from eventstore.cli.failures import ExitCode, complain, exit_code, reason

    try:
        return _run(arguments)
    except KeyboardInterrupt:
        _discard_output()
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return ExitCode.PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 - a user sees one line, whatever happened
        complain(reason(error))
        return exit_code(error)


def _run(arguments: Sequence[str] | None) -> int:
    from eventstore.cli.output import Output
    from eventstore.cli.parser import parse
    from eventstore.cli.store_options import configured, naming_what_is_missing

    try:
        options = parse(arguments)
        out = Output(as_json=options.json)
        config = configured(options.dsn, options.schema)
        with naming_what_is_missing():
            options.run(options, config, out)
    except SystemExit as ended:
        _flush()
        return ended.code if isinstance(ended.code, int) else 0
    _flush()
    return 0


def _flush() -> None:
    """Write buffered output now, while a closed pipe or a full disk can still be handled."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
        raise


def _discard_output() -> None:
    """Drop buffered output: the interpreter would write it at exit, and fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
