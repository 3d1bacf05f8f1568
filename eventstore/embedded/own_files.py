"""Opens what belongs to this user and refuses what somebody else may have put in its place."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from eventstore.embedded.user_ids import name_of
from eventstore.model.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

_ROOT = 0
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Without waiting, as an open of a pipe would wait for its other end."""


def open_own(path: Path, flags: int, owner: int | None = None) -> int:
    """Open the regular file *path* and return its descriptor; a new one is private to its owner.

    Args:
        path: The file. A link is not followed.
        flags: As for `os.open`, without ``O_TRUNC``: that would come before the check.
        owner: User that the file must belong to. Defaults to the user of this process.

    Raises:
        StorageError: It is something else than a file, or of another user, or has a second name.
        OSError: It cannot be opened.
    """
    expected = os.geteuid() if owner is None else owner
    try:
        fd = os.open(path, flags | _ALWAYS, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StorageError(f"{path} is a link, so it is not used: remove it") from error
        raise
    reason = _strangeness(os.fstat(fd), expected, writes=bool(flags & (os.O_WRONLY | os.O_RDWR)))
    if reason is not None:
        os.close(fd)
        raise StorageError(f"{path} {reason}, so it is not used: remove it")
    return fd


def read_own(path: Path, owner: int) -> str | None:
    """Read a small text file of *owner*; None if there is none."""
    try:
        fd = open_own(path, os.O_RDONLY, owner)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, encoding="utf-8", errors="replace") as file:
        return file.read(4096)


def _strangeness(found: os.stat_result, owner: int, *, writes: bool) -> str | None:
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file"
    if found.st_uid != owner:
        return f"belongs to user {name_of(found.st_uid)} and not to {name_of(owner)}"
    if writes and found.st_nlink > 1:
        return "is another file by a second name"
    return None


def check_folder(folder: Path) -> None:
    """Refuse *folder* if another user owns it or everybody may write in it.

    Raises:
        StorageError: The message says whose it is and what to do.
    """
    found, uid = folder.lstat(), os.geteuid()
    if not stat.S_ISDIR(found.st_mode):
        raise StorageError(f"{folder} is no folder: choose another path")
    if found.st_uid not in {_ROOT, uid}:
        raise StorageError(
            f"{folder} belongs to user {name_of(found.st_uid)} and this process runs as"
            f" {name_of(uid)}: run as its owner, or choose another folder"
        )
    if _others_may_write(found):
        # Not for a folder like /tmp, which is meant to be open.
        remedy = "" if found.st_mode & stat.S_ISVTX else f", or run: chmod go-w {folder}"
        raise StorageError(f"other users may write in {folder}: choose a folder in it{remedy}")


def check_way(path: Path) -> None:
    """Refuse an absolute *path* that leads over links of other users.

    Root is refused also where another user may replace a folder on the way: that could lead root's
    writes to any file.

    Raises:
        StorageError: The message names the link or folder.
    """
    for place in (*reversed(path.parents), path):
        try:
            found = place.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode):
            _check_owner(place, found, path)
            check_way(place.parent / place.readlink())
        elif os.geteuid() == _ROOT and place != path:
            _check_owner(place, found, path)
            if _others_may_write(found) and not found.st_mode & stat.S_ISVTX:
                raise StorageError(
                    f"other users may write in {place}, so they could replace {path}: choose"
                    f" another folder, or run: chmod +t {place}"
                )


def _check_owner(place: Path, found: os.stat_result, path: Path) -> None:
    uid = os.geteuid()
    if found.st_uid not in {_ROOT, uid}:
        raise StorageError(
            f"{place} belongs to user {name_of(found.st_uid)}, who could replace {path}, and this"
            f" process runs as {name_of(uid)}: choose another folder, or run as that user"
        )


def _others_may_write(found: os.stat_result) -> bool:
    """Return whether everybody may write; for root also, whether a group of others may."""
    if found.st_mode & stat.S_IWOTH:
        return True
    return os.geteuid() == _ROOT and bool(found.st_mode & stat.S_IWGRP) and found.st_gid != _ROOT
