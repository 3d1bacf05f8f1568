"""A private PostgreSQL server, shared by the processes that use one folder."""

from __future__ import annotations

import atexit
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from eventstore.embedded.deadline import Deadline
from eventstore.embedded.home import Home
from eventstore.embedded.launch import RESERVED, dsn_of, ensure_running, stop
from eventstore.embedded.locks import FileLock
from eventstore.model.errors import StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class EmbeddedServer:
    """One use of the server in a folder; a context manager.

    Any number of processes and threads may use the same folder: the first one starts the server,
    the last one that closes stops it. A process that is killed leaves the server running, and the
    next user attaches to it. The server listens on a unix socket in a folder that only its owner
    can enter, and syncs every commit to disk.
    """

    def __init__(self, home: Home, use: FileLock, socket_folder: Path) -> None:
        """Internal; use `start`."""
        self.dsn = dsn_of(socket_folder)
        """Connection string for libpq."""
        self._home = home
        self._use = use
        self._socket_folder = socket_folder
        self._closing = threading.Lock()

    @classmethod
    def start(
        cls,
        path: str | Path,
        *,
        settings: Mapping[str, str] = _NO_SETTINGS,
        timeout: float = 60.0,
    ) -> Self:
        """Start the server whose data lives in *path*, or attach to it if it runs already.

        Blocks: about a second for a new folder, a few tenths for an existing one, 10 ms for a
        running server, and as long as PostgreSQL needs to recover after a crash.

        Args:
            path: Folder of the server and of all its data; created if missing.
            settings: PostgreSQL settings by name, used only if this call starts the server.
            timeout: Seconds until the server must accept connections.

        Raises:
            ValueError: *path*, *timeout* or a setting's name is refused.
            StorageError: The server cannot run here: no binaries, other data in the folder,
                another user's folder, a bad setting. The message says what to do.
            StorageUnavailableError: It runs, but did not answer in time; retry later.
        """
        _check(settings)
        home, deadline = Home.of(path), Deadline(timeout)
        try:
            home.create()
            with FileLock.exclusive(home.start_lock, deadline):
                use = FileLock.shared(home.users_lock)
                try:
                    server = cls(home, use, ensure_running(home, settings, deadline))
                except BaseException:
                    use.release()
                    raise
        except OSError as error:
            raise StorageError(f"no embedded server in {home.path}: {error}") from error
        atexit.register(server.close)
        return server

    @property
    def data_path(self) -> Path:
        """PostgreSQL's own data folder."""
        return self._home.data

    @property
    def log_path(self) -> Path:
        return self._home.log

    @property
    def version(self) -> int:
        """Major version of PostgreSQL, 15 to 18."""
        major = self._home.major()
        assert major is not None, "a started server has data"
        return major

    @property
    def pid(self) -> int:
        """Process id of the server; the new one after a restart.

        Raises:
            StorageUnavailableError: It was stopped.
        """
        postmaster = self._home.postmaster()
        if postmaster is None:
            raise StorageUnavailableError(f"no server runs in {self._home.path}")
        return postmaster.pid

    def close(self, timeout: float = 60.0) -> None:
        """End this use; the last one stops the server. Idempotent; a no-op in a forked child.

        Raises:
            StorageUnavailableError: The server has not ended within *timeout* seconds.
        """
        if not self._use.is_open or not self._closing.acquire(blocking=False):
            return
        atexit.unregister(self.close)
        deadline = Deadline(timeout)
        try:
            with FileLock.exclusive(self._home.start_lock, deadline):
                try:
                    if self._use.try_exclusive():
                        stop(self._home, self._socket_folder, deadline)
                finally:
                    # Before the start lock is released, so that the next start sees no user.
                    self._use.release()
        finally:
            self._use.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._home.path)!r})"


def _check(settings: Mapping[str, str]) -> None:
    refused = sorted(RESERVED & {name.lower() for name in settings})
    if refused:
        raise ValueError(f"settings of the embedded server that cannot be changed: {refused}")
