"""Runs the command line, and checks the exit code and the output of each run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.forked import run_forked

__all__ = ["SCRIPT", "Shell"]

SCRIPT = str(Path(sys.executable).with_name("eventstore"))


class Shell:
    """A shell with a store in its environment."""

    def __init__(self, dsn: str | None = None, schema: str | None = None) -> None:
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("EVENTSTORE_")
        }
        # As in most shells: output is buffered until the end.
        self.environment.pop("PYTHONUNBUFFERED", None)
        # The width is that of the terminal; xdist sets another one.
        self.environment.pop("COLUMNS", None)
        # So that a warning shows up in the output of a command.
        self.environment["PYTHONWARNINGS"] = "default"
        for name, value in (("EVENTSTORE_DSN", dsn), ("EVENTSTORE_SCHEMA", schema)):
            if value is not None:
                self.environment[name] = value

    def run(self, *arguments: str, stdin: str | bytes = b"", code: int = 0) -> str:
        """Run a command that must exit with *code* and an empty stderr; return its stdout."""
        done = self._ended(arguments, stdin)
        assert (done.returncode, done.stderr) == (code, b""), done
        return done.stdout.decode()

    def refused(self, *arguments: str, stdin: str | bytes = b"", code: int) -> str:
        """Run a command that must exit with *code* and one line on stderr; return that line."""
        done = self._ended(arguments, stdin)
        complaint = done.stderr.decode()
        assert done.returncode == code, done
        assert complaint.startswith("eventstore: "), done
        assert complaint.count("\n") == 1, done
        assert "Traceback" not in complaint, done
        return complaint.removeprefix("eventstore: ").rstrip()

    def found(self, *arguments: str) -> list[str]:
        """Run a command that must find problems and exit with 1; return the lines it printed."""
        done = self._ended(arguments, b"")
        lines = done.stdout.decode().splitlines()
        assert done.returncode == 1, done
        assert done.stderr.decode().startswith(f"eventstore: {len(lines)} problem"), done
        return lines

    def _ended(
        self, arguments: Sequence[str], stdin: str | bytes
    ) -> subprocess.CompletedProcess[bytes]:
        content = stdin.encode() if isinstance(stdin, str) else stdin
        return run_forked("eventstore.cli", arguments, environment=self.environment, stdin=content)

    def json(self, *arguments: str, stdin: str | bytes = b"") -> list[Any]:
        """Run a command with ``--json``; return the decoded lines."""
        printed = self.run(*arguments, "--json", stdin=stdin)
        return [json.loads(line) for line in printed.split("\n") if line]

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command without waiting for its end."""
        return subprocess.Popen(
            [SCRIPT, *arguments],
            env=self.environment,
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
