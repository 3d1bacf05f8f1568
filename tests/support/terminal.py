"""Runs commands on a pseudo-terminal of 80 columns, or of any other number."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.cli import SCRIPT, Shell

__all__ = ["Terminal", "terminal"]

COLUMNS = 80


class Terminal:
    """A command that runs on its own terminal."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process = process
        self._screen = screen
        self._seen = b""

    def wait_for(self, text: str, timeout: float = 60) -> None:
        """Return when *text* is on the screen."""
        deadline = time.monotonic() + timeout
        while text.encode() not in self._seen:
            if not self._read(deadline - time.monotonic()):
                raise TimeoutError(f"{text!r} never came, but {self._seen!r}")

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def end(self, timeout: float = 60) -> str:
        """Return everything that was on the screen, once the command has ended."""
        deadline = time.monotonic() + timeout
        while self._read(deadline - time.monotonic()):
            pass
        self.process.wait(max(0.1, deadline - time.monotonic()))
        return self._seen.decode().replace("\r\n", "\n")

    def _read(self, timeout: float) -> bool:
        """Read what comes; return False at the end or when *timeout* seconds have passed."""
        ready, _, _ = select.select([self._screen], [], [], max(0, timeout))
        try:
            chunk = os.read(self._screen, 65536) if ready else b""
        except OSError:  # how Linux reports that the other end is closed
            return False
        self._seen += chunk
        return bool(chunk)


@contextmanager
def terminal(
    shell: Shell, *arguments: str, columns: int = COLUMNS, **variables: str
) -> Iterator[Terminal]:
    """Run a command on a terminal; killed at the end of the block if it still runs."""
    screen, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [SCRIPT, *arguments],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env={**shell.environment, "TERM": "xterm", **variables},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,  # noqa: PLW1509
    )
    os.close(inside)
    try:
        yield Terminal(process, screen)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(screen)
