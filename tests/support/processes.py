"""Starts services in their own processes, sends them commands and reads their reports."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal

from tests.support.forked import Forked
from tests.support.waiting import PATIENCE, wait_until

__all__ = ["Report", "Service"]

Report = dict[str, Any]


class Service:
    """A process that runs `tests.support.service`, or a program that takes the same arguments."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        runtime: Literal["actors", "caller"] = "actors",
        program: str = "tests.support.service",
    ) -> None:
        stdin, commands = os.pipe()
        told, stdout = os.pipe()
        self._commands, self._told = os.fdopen(commands, "w"), os.fdopen(told)
        with os.fdopen(stdin), os.fdopen(stdout, "w"):
            self._process = Forked(
                program,
                [json.dumps(settings), runtime],
                environment=os.environ,
                streams=(stdin, stdout, 2),
            )
        self._reports: list[Report] = []
        self._reader = threading.Thread(target=self._read, name="service reports", daemon=True)
        self._reader.start()

    def ready(self) -> Service:
        """Wait until it is connected to its store."""
        self.wait("ready", timeout=60)
        return self

    def _read(self) -> None:
        for line in self._told:
            if line.endswith("\n"):  # else it was killed while it wrote
                self._reports.append(json.loads(line))

    def do(self, command: str, **arguments: Any) -> Service:
        """Send it a command without waiting for the result."""
        self._commands.write(json.dumps({"do": command, **arguments}) + "\n")
        self._commands.flush()
        return self

    def reports(self, what: str, **like: Any) -> list[Report]:
        """Return its reports named *what* so far, oldest first."""
        return [
            report
            for report in list(self._reports)
            if report["what"] == what and like.items() <= report.items()
        ]

    def all_reports(self) -> list[Report]:
        """Return all its reports so far, oldest first."""
        return list(self._reports)

    def wait(self, what: str, *, count: int = 1, timeout: float = 40.0, **like: Any) -> Report:
        """Wait for its *count*-th report of that kind, and return it.

        Raises:
            TimeoutError: *timeout* seconds passed.
            AssertionError: It reported an error or ended.
        """
        self.until(lambda: len(self.reports(what, **like)) >= count, timeout=timeout)
        return self.reports(what, **like)[count - 1]

    def until(self, condition: Callable[[], object], timeout: float = 40.0) -> None:
        """Wait until *condition* is true; fail at once if the service fails."""
        wait_until(lambda: condition() or self._failed(), timeout)
        if not condition():
            assert not self._errors(), self._errors()
            raise AssertionError(f"it ended with {self._process.poll()}: {self._reports[-5:]}")

    def _failed(self) -> bool:
        return bool(self._errors()) or not self._reader.is_alive()

    def _errors(self) -> list[Report]:
        """Return its errors, without acknowledgements that were refused because they came late."""
        late = {"do": "ack", "error": "SubscriptionLostError"}
        return [report for report in self.reports("error") if not late.items() <= report.items()]

    def delivered(self, name: str) -> list[list[Any]]:
        """Return [position, stream, version, id] of every event delivered, in order."""
        return [
            event for report in self.reports("delivered", name=name) for event in report["events"]
        ]

    def positions(self, name: str) -> list[int]:
        return [position for position, *_ in self.delivered(name)]

    def wait_delivered(self, name: str, count: int, timeout: float = 40.0) -> list[int]:
        """Wait until *count* events in total are delivered; return the positions of all."""
        self.until(lambda: len(self.delivered(name)) >= count, timeout)
        return self.positions(name)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill9(self) -> None:
        """Kill it as a crash would, and wait until all its reports are read."""
        self._process.kill()
        self._ended(timeout=PATIENCE)

    def end(self, timeout: float = 40.0) -> int:
        """Let it close its store and end; return its exit code."""
        self._commands.close()
        return self._ended(timeout)

    def exit_code(self, timeout: float = 40.0) -> int:
        """Wait until it ends by itself; return its exit code."""
        return self._ended(timeout)

    def _ended(self, timeout: float) -> int:
        code = self._process.wait(timeout)
        self._reader.join(timeout)
        with contextlib.suppress(BrokenPipeError):
            self._commands.close()
        self._told.close()
        return code

    @property
    def running(self) -> bool:
        return self._process.poll() is None
