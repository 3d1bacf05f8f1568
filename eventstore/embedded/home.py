"""The folder of an embedded server and its files. Knows no process."""

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
    """The content of ``postmaster.pid``; the server that wrote it may be dead."""

    pid: int
    socket_folder: Path


@dataclass(frozen=True, slots=True)
class Home:
    """The folder behind ``embedded:PATH``.

    - ``pgdata``: PostgreSQL's data folder.
    - ``start.lock``: held while a user starts, joins or leaves.
    - ``users.lock``: shared by all users.
    - ``server.lock``: inherited by every process of the server. It is free if and only if none of
      them is left, even if their process ids have been reused.
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
        """Create the folder, private to its owner.

        Raises:
            StorageError: The folder is used for something else: it is a PostgreSQL data folder
                itself, or its ``pgdata`` is not one.
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
                f"{self.data} is not a data folder of PostgreSQL: choose another folder"
            )

    def major(self) -> int | None:
        """Read PostgreSQL's major version from the data; None if there are no data yet."""
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
        """Make *data*, complete and on disk, the data of this home; atomic."""
        data.rename(self.data)
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def open_log(self) -> BinaryIO:
        """Open the log, readable by its owner only, for appending."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.fdopen(os.open(self.log, flags, 0o600), "ab")

    def rotate_log(self) -> None:
        """Rotate a log over `LOG_LIMIT`, by copy and truncate since a server may hold it open."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)
