"""A private PostgreSQL server, shared by the processes that use one folder."""

from __future__ import annotations

import atexit
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from eventstore.embedded.deadline import Deadline
from eventstore.embedded.home import Home
from eventstore.embedded.launch import (
    RESERVED,
    dsn_of,
    ensure_running,
    has_ended,
    stop,
    stop_lost,
)
from eventstore.embedded.locks import FileLock
from eventstore.embedded.revival import Revival
from eventstore.model.errors import StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

_RESTART_SECONDS = 60.0
"""Deadline of a start after the server died, recovery included."""


class EmbeddedServer:
    """One use of the server in a folder; a context manager.

    Any number of processes and threads may use the same folder: the first one starts the server,
    the last one that closes stops it. A process that is killed leaves the server running, and the
    next user attaches to it. The server listens on a unix socket in a folder that only its owner
    can enter, and syncs every commit to disk.
    """

    def __init__(
        self, home: Home, use: FileLock, socket_folder: Path, settings: Mapping[str, str]
    ) -> None:
        """Internal; use `start`."""
        self.dsn = dsn_of(socket_folder)
        """Connection string for libpq."""
        self._home = home
        self._use = use
        self._socket_folder = socket_folder
        self._settings = settings
        self._data = _inode_of(home.data)
        self._revival = Revival(self._has_ended, self._start_again)
        self._closing = threading.Lock()

    @classmethod
    def start(
        cls,
        path: str | Path,
        *,
        settings: Mapping[str, str] = _NO_SETTINGS,
        timeout: float = 60.0,
        create: bool = True,
    ) -> Self:
        """Start the server whose data lives in *path*, or attach to it if it runs already.

        Blocks: about a second for a new folder, a few tenths for an existing one, 10 ms for a
        running server, and as long as PostgreSQL needs to recover after a crash.

        Args:
            path: Folder of the server and of all its data.
            settings: PostgreSQL settings by name, used only if this call starts the server.
            timeout: Seconds until the server must accept connections.
            create: Create the folder and the data if missing. Defaults to True.

        Raises:
            ValueError: *path*, *timeout* or a setting's name is refused.
            NoServerError: There is no server in *path*, and *create* is False; nothing was created.
            StorageError: The server cannot run here: no binaries, other data in the folder,
                another user's folder, a bad setting. The message says what to do.
            StorageUnavailableError: It runs, but did not answer in time; retry later.
        """
        _check(settings)
        deadline = Deadline(timeout)
        try:
            home = Home.of(path)
            home.prepare(create=create)
            with FileLock.exclusive(home.start_lock, deadline):
                use = FileLock.shared(home.users_lock)
                try:
                    socket_folder = ensure_running(home, settings, deadline, create=create)
                    server = cls(home, use, socket_folder, settings)
                except BaseException:
                    use.release()
                    raise
        except OSError as error:
            raise StorageError(f"no embedded server in {path}: {error}") from error
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

    def revive(self) -> bool:
        """Start the server again if none of its processes is left. For whoever cannot connect.

        Returns:
            Whether it was started: connecting again is worth it.

        Raises:
            StorageUnavailableError: It cannot be started now; retry later. Attempts are made after
                growing pauses of up to 10 s, and only the first failure is logged.
        """
        return self._revival.revive()

    def _has_ended(self) -> bool:
        if not self._use.is_open:
            return False
        if _inode_of(self._home.data) != self._data:
            raise StorageUnavailableError(f"the data in {self._home.data} were removed or replaced")
        return has_ended(self._home)

    def _start_again(self) -> bool:
        deadline = Deadline(_RESTART_SECONDS)
        with FileLock.exclusive(self._home.start_lock, deadline):
            if not self._use.is_open:  # closed while this thread waited
                return False
            self._home.prepare(create=False)
            socket_folder = ensure_running(self._home, self._settings, deadline, create=False)
        if socket_folder != self._socket_folder:
            raise StorageError(f"it listens in {socket_folder} now: connect to the store again")
        return True

    def close(self, timeout: float = 60.0) -> None:
        """End this use; the last one stops the server. Idempotent; a no-op in a forked child.

        A server of other data, which were put in the place of these meanwhile, is left alone.

        Raises:
            StorageUnavailableError: The server has not ended within *timeout* seconds.
        """
        if not self._use.is_open or not self._closing.acquire(blocking=False):
            return
        atexit.unregister(self.close)
        try:
            found = _inode_of(self._home.data)
            if found == self._data:
                self._leave(Deadline(timeout))
            elif found is None and self._use.try_exclusive():
                stop_lost(self._socket_folder)
        finally:
            self._use.release()

    def _leave(self, deadline: Deadline) -> None:
        with FileLock.exclusive(self._home.start_lock, deadline):
            try:
                if self._use.try_exclusive():
                    stop(self._home, self._socket_folder, deadline)
            finally:
                # Before the start lock is released, so that the next start sees no user.
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


def _inode_of(data: Path) -> tuple[int, int] | None:
    """Return what tells a folder from another one of the same path; None if it is missing."""
    try:
        found = data.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _check(settings: Mapping[str, str]) -> None:
    refused = sorted(RESERVED & {name.lower() for name in settings})
    if refused:
        raise ValueError(f"settings of the embedded server that cannot be changed: {refused}")
