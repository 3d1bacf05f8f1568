"""The folder of an embedded server and what lies in it. Knows files only, no process."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from eventstore.model.errors import StorageError

LOG_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What a server wrote about itself into ``postmaster.pid``; it may be dead since."""

    pid: int
    socket_folder: Path


@dataclass(frozen=True, slots=True)
class Home:
    """The folder behind ``embedded:PATH``.

    ``pgdata`` is PostgreSQL's own. ``start.lock`` is held while anybody starts, joins or leaves,
    ``users.lock`` is shared by all users, and ``server.lock`` is inherited by every process of the
    server, so that it is free if and only if none of them is left, whatever became of their pids.
    """

    path: Path

    @classmethod
    def of(cls, path: str | Path) -> Self:
        """Resolve *path*; ``~`` is the home folder.

        Raises:
            ValueError: The path cannot be written as one line of UTF-8.
        """
        resolved = Path(path).expanduser().resolve()
        try:
            lines = os.fsencode(resolved).decode().splitlines()
        except UnicodeDecodeError:
            lines = []
        if len(lines) != 1:
            raise ValueError(f"path must be one line of UTF-8, not {str(path)!r}")
        return cls(resolved)

    @property
    def data(self) -> Path:
        return self.path / "pgdata"

    @property
    def unfinished_data(self) -> Path:
        return self.path / "pgdata.new"

    @property
    def start_lock(self) -> Path:
        return self.path / "start.lock"

    @property
    def users_lock(self) -> Path:
        return self.path / "users.lock"

    @property
    def server_lock(self) -> Path:
        return self.path / "server.lock"

    @property
    def log(self) -> Path:
        return self.path / "server.log"

    def create(self) -> None:
        """Create the folder, private to its owner, and refuse one that is used otherwise.

        Raises:
            StorageError: It is a PostgreSQL data folder itself, or ``pgdata`` is not one.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (self.path / "PG_VERSION").exists():
            raise StorageError(
                f"{self.path} is the data folder of another PostgreSQL server: choose another"
            )
        if self.data.exists() and os.access(self.data, os.R_OK | os.X_OK):
            self._check_data()

    def _check_data(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            raise StorageError(
                f"{self.data} is no data folder of PostgreSQL: choose another folder"
            )

    def major(self) -> int | None:
        """Read the major version of the data; None if there is none yet."""
        try:
            return int((self.data / "PG_VERSION").read_text("ascii"))
        except FileNotFoundError:
            return None

    def postmaster(self) -> Postmaster | None:
        """Read ``postmaster.pid``; None if it is missing or only half written."""
        try:
            lines = (self.data / "postmaster.pid").read_text("utf-8").splitlines()
            pid, socket_folder = int(lines[0]), Path(lines[4])
        except (FileNotFoundError, IndexError, ValueError):
            return None
        # The line is empty until the server listens.
        return Postmaster(pid, socket_folder) if socket_folder.is_absolute() else None

    def adopt(self, data: Path) -> None:
        """Make *data*, complete and on disk, the data of this home: all of it or nothing."""
        data.rename(self.data)
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def open_log(self) -> BinaryIO:
        """Open the log, readable by its owner only, to write at its end."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.fdopen(os.open(self.log, flags, 0o600), "ab")

    def bound_log(self) -> None:
        """Keep at most twice `LOG_LIMIT`: the server appends, so its file is copied and emptied."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)
