"""Users by number: their names, one with a name for `initdb`, one that nothing else runs as."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
from pathlib import Path

UNUSED = range(60_706, 61_184)
"""Numbers that no distribution gives to people, services or containers."""

_NOBODY = 65534


def has_name(uid: int) -> bool:
    """Return whether the machine's list of users has an entry for *uid*."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def name_of(uid: int) -> str:
    """Return the name of *uid* in quotes, or its number if it has none."""
    return repr(pwd.getpwuid(uid).pw_name) if has_name(uid) else str(uid)


def named_uid() -> int | None:
    """Return a user that has a name and is not root: nobody, or any other; None without one."""
    if has_name(_NOBODY):
        return _NOBODY
    return next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0), None)


def unused_uid(path: Path) -> int | None:
    """Return a user for the server in *path* that has no name, no group and no process.

    The search begins at a number that follows from *path*, so that two servers seldom share one.
    None if every number is taken.
    """
    first = int.from_bytes(hashlib.sha256(os.fsencode(path)).digest()[:4], "big")
    busy = _running_uids()
    candidates = (UNUSED[(first + step) % len(UNUSED)] for step in range(len(UNUSED)))
    return next((each for each in candidates if each not in busy and not _is_known(each)), None)


def _is_known(uid: int) -> bool:
    try:
        grp.getgrgid(uid)
    except KeyError:
        return has_name(uid)
    return True


def _running_uids() -> set[int]:
    """Return the users of all processes, where the system shows them in ``/proc``."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.add(process.stat().st_uid)
        except OSError:  # it has ended
            continue
    return found
