"""The user that a server runs as. PostgreSQL refuses to run as root, so root needs another one."""

from __future__ import annotations

import functools
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eventstore.model.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

_NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534")


@dataclass(frozen=True, slots=True)
class Identity:
    """A way to run PostgreSQL's programs as a user that they accept."""

    uid: int
    """Owner of the files that they create, as seen from this process."""
    prefix: tuple[str, ...] = ()
    """Command that creates a user namespace; empty if none is needed."""
    user: str | None = None
    """User to switch to, who must be able to read binaries and data; None: no switch."""

    def run(
        self,
        command: Sequence[str | Path],
        *,
        output: IO[bytes],
        pass_fds: Sequence[int] = (),
        env: dict[str, str] | None = None,
    ) -> int:
        """Run *command*, detached from the terminal, and return its exit code.

        Output goes to a file, because a server started by *command* would keep a pipe open.
        """
        return subprocess.run(  # noqa: S603 - the commands of this package, no shell syntax
            [*self.prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=_environment() | (env or {}),
            pass_fds=pass_fds,
            start_new_session=True,  # Ctrl-C in the terminal must not reach the server
            check=False,
            user=self.user,
            group=None if self.user is None else pwd.getpwnam(self.user).pw_gid,
            extra_groups=None if self.user is None else (),
        ).returncode

    def own(self, folder: Path) -> None:
        """Make the server's user the owner of a new *folder*."""
        if self.user is not None:
            os.chown(folder, self.uid, pwd.getpwnam(self.user).pw_gid)

    @property
    def hint(self) -> str:
        """Advice for the error message of a failed command; empty if there is none."""
        if self.user is None:
            return ""
        return (
            f"\nroot may not create user namespaces here, so PostgreSQL runs as {self.user!r},"
            " who must be able to reach the data folder and PostgreSQL's binaries"
        )


def choose_identity(data: Path) -> Identity:
    """Choose the user for the server of *data*: the folder's owner, if the folder exists.

    Raises:
        StorageError: This process cannot act for the owner of the folder.
    """
    owner = data.stat().st_uid if data.exists() else None
    return _for_root(data, owner) if os.geteuid() == 0 else _for_user(data, owner)


def _for_user(data: Path, owner: int | None) -> Identity:
    uid = os.geteuid()
    if owner not in {None, uid}:
        raise StorageError(
            f"{data} belongs to user {_name(owner)} and this process runs as {_name(uid)}:"
            " run as its owner, or choose another folder"
        )
    return Identity(uid)


def _for_root(data: Path, owner: int | None) -> Identity:
    nobody = _nobody()
    if owner in {None, 0} and _may_unshare():
        return Identity(0, prefix=_NAMESPACE)
    if nobody is not None and owner in {None, nobody.uid}:
        return nobody
    if owner in {None, 0}:
        raise StorageError(
            f"PostgreSQL cannot run as root, and root may not create user namespaces here: run as"
            f" an ordinary user, or give the data away with: chown -R nobody {data}"
        )
    raise StorageError(
        f"{data} belongs to user {_name(owner)} and this process runs as root:"
        " run as its owner, or choose another folder"
    )


@functools.cache
def _may_unshare() -> bool:
    """Return whether root may create a user namespace here; some containers deny it.

    A namespace is preferred to the user `nobody`, who cannot enter a private ``/root``.
    """
    try:
        result = subprocess.run(  # noqa: S603 - constant
            [*_NAMESPACE, "true"], capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return result.returncode == 0


def _nobody() -> Identity | None:
    try:
        return Identity(pwd.getpwnam("nobody").pw_uid, user="nobody")
    except KeyError:
        return None


def _name(uid: int | None) -> str:
    try:
        return repr(pwd.getpwuid(uid if uid is not None else -1).pw_name)
    except (KeyError, OverflowError):
        return str(uid)


def _environment() -> dict[str, str]:
    """Return this process's environment without PostgreSQL's variables, with English messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}
