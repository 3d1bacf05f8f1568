"""The folder of a server's unix socket: short, private, the same at every start."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from eventstore.model.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventstore.embedded.home import Home
    from eventstore.embedded.identity import Identity

PORT = 5432
_LONGEST = 103
"""Most bytes in the path of a socket: 107 on Linux, 103 on macOS."""


def create_socket_folder(home: Home, identity: Identity) -> Path:
    """Create the socket folder of *home*, or return the existing one.

    Its name is derived from the path of *home*, so clients find a restarted server at the same
    place. It is never below *home*, whose path may be too long for a socket.

    Raises:
        StorageError: No candidate has a short path, is writable and is private to the user.
    """
    digest = hashlib.sha256(os.fsencode(home.path)).hexdigest()[:12]
    refused = []
    for base in _bases():
        folder = base / f"eventstore-{identity.uid}-{digest}"
        reason = _claim(folder, identity)
        if reason is None:
            return folder
        refused.append(f"{folder} {reason}")
    raise StorageError("no folder for the server's socket: " + "; ".join(refused))


def is_private(folder: Path, uid: int) -> bool:
    """Return whether *folder* is a real folder that only *uid* can enter or change."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077


def remove_socket_folder(folder: Path) -> None:
    """Remove the socket folder of a stopped server; one in use, or of another user, stays."""
    with suppress(OSError):
        for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _bases() -> Iterator[Path]:
    # First the folder that is the same in every environment, so that a server restarted by another
    # process is found; last the runtime folder, which vanishes when its user logs out.
    for base in ("/tmp", tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR")):  # noqa: S108
        if base:
            yield Path(base).resolve()


def _claim(folder: Path, identity: Identity) -> str | None:
    """Create *folder* for *identity*, or reuse it; return the reason if that is impossible."""
    if len(os.fsencode(folder / f".s.PGSQL.{PORT}")) > _LONGEST:
        return "is too long for a socket"
    try:
        folder.mkdir(mode=0o700)
        identity.own(folder)
    except FileExistsError:
        pass
    except OSError as error:
        return f"cannot be created: {error.strerror}"
    return None if is_private(folder, identity.uid) else "is not private to this user"
