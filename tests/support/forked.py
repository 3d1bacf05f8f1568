"""Start a process that runs a Python module, by a fork instead of a new interpreter."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["Forked", "run_forked"]

_ROOT = Path(__file__).parents[2]


@functools.cache
def _requests() -> socket.socket:
    """Start the fork server of this process, which ends when the socket is closed."""
    ours, theirs = socket.socketpair()
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    environment.pop("PYTHONUNBUFFERED", None)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())],
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(_end, server, ours)
    return ours


def _end(server: subprocess.Popen[bytes], requests: socket.socket) -> None:
    requests.close()
    server.wait(10)


class Forked:
    """A process that runs a module, with the part of `subprocess.Popen` that tests need."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
    ) -> None:
        """Start it with file descriptors for stdin, stdout and stderr."""
        request = {
            "module": module,
            "arguments": [module, *arguments],
            "environment": dict(environment),
        }
        status, told = os.pipe()
        self._status = os.fdopen(status)
        self._ending = threading.Lock()
        self.returncode: int | None = None
        with os.fdopen(told, "wb"), tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            json.dump(request, file)
            file.flush()
            file.seek(0)
            socket.send_fds(_requests(), [b"!"], [file.fileno(), told, *streams])
        self.pid = int(self._status.readline())

    def poll(self) -> int | None:
        """Return its exit code, as of now."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Return its exit code; minus the number of the signal that ended it.

        Raises:
            subprocess.TimeoutExpired: It still runs after *timeout* seconds.
        """
        with self._ending:
            if self.returncode is None:
                if not select.select([self._status], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired("a forked process", timeout)
                self.returncode = int(self._status.readline())
                self._status.close()
            return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_forked(
    module: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: bytes,
    timeout: float = 240.0,
) -> subprocess.CompletedProcess[bytes]:
    """Run *module* to its end with *stdin* in a pipe, and return what it printed."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        with _pipe_of(stdin) as source:
            process = Forked(
                module,
                arguments,
                environment=environment,
                streams=(source, stdout.fileno(), stderr.fileno()),
            )
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            raise
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(arguments, code, stdout.read(), stderr.read())


@contextlib.contextmanager
def _pipe_of(content: bytes) -> Iterator[int]:
    """Yield the read end of a pipe that a thread fills with *content*."""
    source, sink = os.pipe()
    try:
        threading.Thread(target=_feed, args=(sink, content), name="stdin", daemon=True).start()
        yield source
    finally:
        os.close(source)


def _feed(sink: int, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(sink, "wb") as pipe:
        pipe.write(content)
