"""A private PostgreSQL server for fault tests: kills, restarts, lost backends."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

import psycopg
import pytest

from eventstore.embedded import EmbeddedServer
from eventstore.embedded.deadline import Deadline
from eventstore.embedded.locks import FileLock
from tests.support.waiting import wait_until

_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


_USER_SCRIPT = """
import sys
from eventstore.embedded import EmbeddedServer
server = EmbeddedServer.start(sys.argv[1])
print(server.pid, flush=True)
sys.stdin.readline()
server.close()
"""


_shared: Path | None = None


def share_template(folder: Path) -> None:
    """Keep the data that initdb makes in *folder*, for all processes that call this with it."""
    global _shared  # noqa: PLW0603 -- set once, before anything is prepared
    _shared = folder


@functools.cache
def _template() -> Path:
    """Return the data of a new server, made once per run: a copy takes a tenth of an initdb."""
    if _shared is None:
        path = Path(tempfile.mkdtemp(prefix="eventstore-template-"))
        atexit.register(shutil.rmtree, path)
    else:
        path = _shared / "template"
        path.mkdir(exist_ok=True)
    lock = FileLock.exclusive(path / "template.lock", Deadline(100))
    try:
        if not (path / "complete").exists():
            EmbeddedServer.start(path / "server", timeout=100).close()
            (path / "complete").touch()
    finally:
        lock.release()
    return path / "server" / "pgdata"


def prepare(path: Path) -> Path:
    """Fill *path* with the data of a server that never ran, and return it."""
    shutil.copytree(_template(), path / "pgdata")
    return path


_MEMORY = Path("/dev/shm")
"""The folder that Linux keeps in memory."""

_ROOM = 6 * 1024**3


@contextmanager
def roomy_folder(temporary: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder for a server of many stores: in memory, if there are some GiB of it.

    Each test creates and drops fifty files. A file system on a disk that looks for numbers that
    were not in use lately (ext4) needs an eighth of the processor time of all tests for that.
    """
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM:
        with tempfile.TemporaryDirectory(prefix="eventstore-tests-", dir=_MEMORY) as folder:
            yield Path(folder)
    else:
        yield temporary.mktemp("server")


class ServerUser:
    """Another process that uses the embedded server in *path*."""

    def __init__(self, path: Path, script: str = _USER_SCRIPT) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def server_pid(self) -> int:
        """Wait until it uses the server; return the postmaster's process id."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def leave(self) -> int:
        """Let the script run to its end; return its exit code."""
        self.process.communicate("\n", timeout=120)
        return self.process.returncode

    def kill9(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=120)


class TestServer:
    """A private server; its connection string stays the same through every restart."""

    Mode = Literal["smart", "fast", "immediate"]
    __test__ = False  # pytest would collect it because of its name

    def __init__(self, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self.path = prepare(Path(tempfile.mkdtemp(prefix="eventstore-test-")))
        self._settings = dict(settings)
        self._server = EmbeddedServer.start(self.path, settings=self._settings)
        self.dsn = self._server.dsn

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._server.pid

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.dsn, autocommit=True)

    def kill9_postmaster(self) -> None:
        """Kill the server as a power cut would; return when it accepts no connection."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self._accepts())

    def start(self) -> None:
        """Start the server again after it was killed or stopped."""
        previous = self._server
        self._server = EmbeddedServer.start(self.path, settings=self._settings)
        previous.close()  # after the new use began, so that this is not the last user
        assert self._server.dsn == self.dsn

    def restart(self, mode: Mode = "immediate") -> None:
        """Stop the server and start it again; *immediate* makes it recover as after a crash."""
        self.stop(mode)
        self.start()

    def stop(self, mode: Mode = "fast") -> None:
        """Stop the server until `start`."""
        os.kill(self.pid, _SIGNALS[mode])
        wait_until(lambda: not self._accepts())

    def backends(self, application_name_like: str = "%") -> list[int]:
        """Return the process ids of client connections, for SIGSTOP or SIGKILL."""
        with self.connect() as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND pid <> pg_backend_pid() AND application_name LIKE %s",
                [application_name_like],
            )
            return [pid for (pid,) in rows]

    def terminate_backends(self, application_name_like: str = "%") -> int:
        """Terminate client connections and wait for their end; return their number."""
        pids = self.backends(application_name_like)
        with self.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", [pids]
            )
        wait_until(lambda: not set(pids) & set(self.backends()))
        return len(pids)

    def close(self) -> None:
        self._server.close()
        shutil.rmtree(self.path)

    def _accepts(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
