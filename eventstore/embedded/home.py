"""The folder of an embedded server and its files. Knows no process."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from eventstore.embedded.own_files import check_folder, check_way, open_own, read_own
from eventstore.model.errors import StorageError

LOG_LIMIT = 1024 * 1024


class NoServerError(StorageError):
    """The folder holds no server, and none was to be created."""


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
            ValueError: The path cannot be written as one line of UTF-8, or leads nowhere.
            StorageError: The path leads over what other users can change.
        """
        try:
            given = Path(path).expanduser().absolute()
            resolved = given.resolve()
        except (OSError, RuntimeError) as error:  # no such user, a loop of links, a name too long
            raise ValueError(f"path leads nowhere: {str(path)!r}: {error}") from error
        try:
            lines = os.fsencode(resolved).decode().splitlines()
        except UnicodeDecodeError:
            lines = []
        if len(lines) != 1:
            raise ValueError(f"path must be one line of UTF-8, not {str(path)!r}")
        check_way(given)
        return cls(resolved)

    @property
    def data(self) -> Path:
        return self.path / "pgdata"

    @property
    def unfinished(self) -> Path:
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

    def prepare(self, *, create: bool) -> None:
        """Create the folder, private to its owner, or check the existing one.

        Args:
            create: False: refuse a folder without a server instead, and create nothing.

        Raises:
            NoServerError: There is no server, and *create* is False.
            StorageError: The folder belongs to somebody else, or is used for something else: it is
                a PostgreSQL data folder itself, or its ``pgdata`` is not one.
        """
        if create:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        elif not self._may_hold_data():
            raise NoServerError(f"there is no embedded server in {self.path}")
        check_folder(self.path)
        if (self.path / "PG_VERSION").exists():
            raise StorageError(
                f"{self.path} is the data folder of another PostgreSQL server: choose another"
            )
        if self.data.exists() or self.data.is_symlink():
            self._check_data()

    def _may_hold_data(self) -> bool:
        try:
            return self.data.exists()
        except PermissionError:
            return True  # the check of the folder says whose it is

    def _check_data(self) -> None:
        if not stat.S_ISDIR(self.data.lstat().st_mode):
            raise StorageError(f"{self.data} is a link or a file: choose another folder")
        if os.access(self.data, os.R_OK | os.X_OK) and self.major() is None:
            raise StorageError(
                f"{self.data} is not a data folder of PostgreSQL: choose another folder"
            )

    def major(self) -> int | None:
        """Read PostgreSQL's major version from the data; None if there are no data yet.

        Raises:
            StorageError: The file holds something else.
        """
        text = self._read("PG_VERSION")
        if text is None:
            return None
        if not text.strip().isdecimal():
            raise StorageError(f"{self.data / 'PG_VERSION'} holds no version: {text[:40]!r}")
        return int(text)

    def postmaster(self) -> Postmaster | None:
        """Read ``postmaster.pid``; None if it is missing or only half written."""
        lines = (self._read("postmaster.pid") or "").splitlines()
        try:
            pid, socket_folder = int(lines[0]), Path(lines[4])
        except (IndexError, ValueError):
            return None
        # The line is empty until the server listens.
        return Postmaster(pid, socket_folder) if socket_folder.is_absolute() else None

    def _read(self, name: str) -> str | None:
        """Read a file in the data, which must be of the same user as they."""
        try:
            owner = self.data.lstat().st_uid
        except FileNotFoundError:
            return None
        return read_own(self.data / name, owner)

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
        return os.fdopen(open_own(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab")

    def log_from(self, start: int, limit: int) -> str:
        """Read the log from offset *start*, at most its last *limit* bytes."""
        with os.fdopen(open_own(self.log, os.O_RDONLY), "rb") as file:
            file.seek(max(start, os.fstat(file.fileno()).st_size - limit))
            return file.read(limit).decode(errors="replace").strip()

    def rotate_log(self) -> None:
        """Rotate a log over `LOG_LIMIT`, by copy and truncate since a server may hold it open."""
        with os.fdopen(open_own(self.log, os.O_RDWR | os.O_CREAT), "r+b") as log:
            if os.fstat(log.fileno()).st_size <= LOG_LIMIT:
                return
            old = self.log.with_suffix(".log.1")
            with suppress(FileNotFoundError):
                old.unlink()  # a link of this name is removed, not followed
            with os.fdopen(open_own(old, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as copy:
                shutil.copyfileobj(log, copy)
            log.truncate(0)
