"""The folder of a server's unix socket: short, private, the same at every start."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
import sys
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
_SOCKET = f".s.PGSQL.{PORT}"
_LONGEST = 103
"""Most bytes in the path of a socket: 107 on Linux, 103 on macOS."""
_PEER = (0, 2) if sys.platform == "darwin" else (socket.SOL_SOCKET, 17)
"""Level and option that give the process at the other end: LOCAL_PEERPID, SO_PEERCRED."""


def create_socket_folder(home: Home, identity: Identity) -> Path:
    """Create the socket folder of *home*, or return the existing one.

    Its name is derived from the path of *home*, so clients find a restarted server at the same
    place. It is below *home* only where nothing else can be written: that path may be too long for
    a socket.

    Raises:
        StorageError: No candidate has a short path, is writable and is private to the user.
    """
    digest = hashlib.sha256(os.fsencode(home.path)).hexdigest()[:12]
    refused = []
    for base in (*_bases(), home.path):
        folder = base / f"eventstore-{identity.uid}-{digest}"
        reason = _claim(folder, identity)
        if reason is None:
            if listener(folder) is None:
                # The process that the lock file names may be another program by now.
                _remove_leftovers(folder)
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


def listener(folder: Path) -> int | None:
    """Return the process that listens on the socket in *folder*, by the word of the kernel.

    None: nobody listens. 0: somebody does, whose number cannot be known from here.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        try:
            connection.connect(str(folder / _SOCKET))
            option = connection.getsockopt(*_PEER, struct.calcsize("3i"))
        except BlockingIOError:
            return 0
        except OSError:
            return None
    return int(struct.unpack_from("i", option)[0])


def remove_socket_folder(folder: Path) -> None:
    """Remove the socket folder of a stopped server; one in use, or of another user, stays."""
    with suppress(OSError):
        _remove_leftovers(folder)
        folder.rmdir()


def _remove_leftovers(folder: Path) -> None:
    for name in (_SOCKET, f"{_SOCKET}.lock"):
        (folder / name).unlink(missing_ok=True)


def _bases() -> Iterator[Path]:
    # First the folder that is the same in every environment, so that a server restarted by another
    # process is found; last the runtime folder, which vanishes when its user logs out.
    yield Path("/tmp").resolve()  # noqa: S108
    with suppress(FileNotFoundError):  # nothing can be written
        yield Path(tempfile.gettempdir()).resolve()
    if base := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(base).resolve()


def _claim(folder: Path, identity: Identity) -> str | None:
    """Create *folder* for *identity*, or reuse it; return the reason if that is impossible."""
    if len(os.fsencode(folder / _SOCKET)) > _LONGEST:
        return "is too long for a socket"
    try:
        folder.mkdir(mode=0o700)
        identity.own(folder)
    except FileExistsError:
        pass
    except OSError as error:
        return f"cannot be created: {error.strerror}"
    return None if is_private(folder, identity.uid) else "is not private to this user"
