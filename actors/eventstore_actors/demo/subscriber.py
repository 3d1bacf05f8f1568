"""Starts, reads, kills and stops the subscriber's process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, assert_never

from eventstore_actors.demo.reports import Counted, Report, Started, parse

__all__ = ["SubscriberProcess", "SubscriberSilentError", "Tally"]


class SubscriberSilentError(Exception):
    """The subscriber's process ended or made no progress; the message shows its position."""


@dataclass
class Tally:
    """The reports of all processes of the subscriber, summed up; thread-safe."""

    position: int = 0
    again: int = 0
    """Events that were redelivered."""
    runs: list[Started] = field(default_factory=list)
    listening: bool = False
    """A process of the subscriber is alive."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, report: Report) -> None:
        with self._changed:
            match report:
                case Started():
                    self.runs.append(report)
                case Counted():
                    self.position = report.position
                    self.again += report.again
                case _:
                    assert_never(report)
            self._changed.notify_all()

    def listen(self, *, listening: bool) -> None:
        with self._changed:
            self.listening = listening
            self._changed.notify_all()

    def wait_for(self, happened: Callable[[], bool], timeout: float) -> None:
        """Block until *happened* is true.

        Raises:
            SubscriberSilentError: *timeout* seconds passed, or the process ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: happened() or not self.listening, timeout)
            if not happened():
                why = f"made no progress for {timeout:.0f} s" if self.listening else "ended"
                raise SubscriberSilentError(f"the subscriber {why} at #{self.position:,}")


class SubscriberProcess:
    """A process that runs one `BoardActor` and ends with its parent."""

    def __init__(self, dsn: str, state: Path, tally: Tally) -> None:
        """Start the process."""
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", "eventstore_actors.demo.board", dsn, str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C reaches the demo alone, which then stops this process in order.
            start_new_session=True,
        )
        tally.listen(listening=True)
        self._hearing = threading.Thread(
            target=_hear, args=(self._process.stdout, tally), name="subscriber", daemon=True
        )
        self._hearing.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """Kill it as ``kill -9`` does: nothing is flushed, released or closed."""
        self._process.kill()
        self._ended()

    def stop(self, timeout: float = 15.0) -> None:
        """Let it release its subscription and end; kill it after *timeout* seconds."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._ended()

    def _ended(self) -> None:
        self._process.wait()
        self._hearing.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def _hear(lines: IO[bytes], tally: Tally) -> None:
    for line in lines:
        # The last line of a killed process may be cut short.
        if line.endswith(b"\n"):
            tally.take(parse(line))
    tally.listen(listening=False)
