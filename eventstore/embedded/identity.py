"""The user that a server runs as. PostgreSQL refuses root, and its initdb a user without a name."""

from __future__ import annotations

import functools
import os
import stat
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eventstore.embedded.user_ids import UNUSED, has_name, name_of, named_uid, unused_uid
from eventstore.model.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO


@dataclass(frozen=True, slots=True)
class Identity:
    """A way to run PostgreSQL's programs as a user that they accept."""

    uid: int
    """Owner of the files that they create, as seen from this process."""
    prefix: tuple[str, ...] = ()
    """Command that creates a user namespace; empty if none is needed."""
    user: int | None = None
    """User to switch to, who must be able to read binaries and data; None: no switch."""
    group: int | None = None
    """Group to switch to together with the user."""

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
        return self._run(command, output, pass_fds, env or {}).returncode

    def ask(self, command: Sequence[str | Path], pass_fds: Sequence[int] = ()) -> tuple[int, str]:
        """Run *command*, which starts no server; return its exit code and its output.

        Needs no file: there may be no folder for temporary ones.
        """
        done = self._run(command, subprocess.PIPE, pass_fds, {})
        return done.returncode, done.stdout.decode(errors="replace").strip()

    def _run(
        self,
        command: Sequence[str | Path],
        output: IO[bytes] | int,
        pass_fds: Sequence[int],
        env: dict[str, str],
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603 - the commands of this package, no shell syntax
            [*self.prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_environment() | env,
            pass_fds=pass_fds,
            start_new_session=True,  # Ctrl-C in the terminal must not reach the server
            check=False,
            user=self.user,
            group=self.group,
            extra_groups=None if self.user is None else (),
        )

    def for_initdb(self) -> Identity:
        """Return the identity for initdb, which needs a user with a name.

        Where root switches to a user of the server's own, initdb takes the name of another and
        keeps the group. The data are made behind a `gate`, so that no other process of the user
        with the name reaches them meanwhile.

        Raises:
            StorageError: There is none; the message says what to do.
        """
        if self.prefix or (self.user is None and has_name(self.uid)):
            return self
        if self.user is None and (prefix := _namespace()):
            return replace(self, prefix=prefix)
        named = named_uid()
        if self.user is not None and named is not None:
            return replace(self, uid=named, user=named)
        raise StorageError(
            f"user {self.uid} has no name on this machine, and PostgreSQL's initdb needs one: add"
            f" the line 'eventstore:x:{self.uid}:{os.getegid()}::/:/bin/false' to /etc/passwd, or"
            " run as a user with a name, or allow user namespaces"
        )

    def own(self, folder: Path) -> None:
        """Make the server's user the owner of a new, empty *folder*."""
        if self.user is not None and self.group is not None:
            os.chown(folder, self.user, self.group, follow_symlinks=False)

    def own_all(self, folder: Path) -> None:
        """Make the server's user the owner of *folder* and of everything in it."""
        if self.user is None or self.group is None:
            return
        for _, _, files, place in os.fwalk(folder):
            os.fchown(place, self.user, self.group)
            for file in files:
                os.chown(file, self.user, self.group, dir_fd=place, follow_symlinks=False)

    def admit(self, folder: Path) -> None:
        """Let the server's user pass through our *folder* to its data, if not everybody may."""
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            self.gate(folder, stat.S_IMODE(mode))

    def gate(self, folder: Path, mode: int = 0o700) -> None:
        """Let the server's group, and no other group, pass through our *folder*."""
        if self.group is not None:
            os.chown(folder, -1, self.group, follow_symlinks=False)
            folder.chmod(mode & ~stat.S_IRWXG | stat.S_IXGRP)

    @property
    def hint(self) -> str:
        """Advice for the error message of a failed command; empty if there is none."""
        if self.user is None:
            return ""
        return (
            f"\nroot may not create user namespaces here, so PostgreSQL runs as user {self.user},"
            " which nothing else uses, and which must be able to reach the data folder and"
            " PostgreSQL's binaries"
        )


def choose_identity(data: Path) -> Identity:
    """Choose the user for the server of *data*: the folder's owner, if the folder exists.

    Raises:
        StorageError: This process cannot act for the owner of the folder.
    """
    owner = data.lstat().st_uid if data.is_dir() else None
    return _for_root(data, owner) if os.geteuid() == 0 else _for_user(data, owner)


def _for_user(data: Path, owner: int | None) -> Identity:
    uid = os.geteuid()
    if owner not in {None, uid}:
        raise StorageError(
            f"{_of_another(data, owner)}: run as its owner, or choose another folder"
        )
    return Identity(uid)


def _for_root(data: Path, owner: int | None) -> Identity:
    if owner is not None and owner in UNUSED and not has_name(owner):
        return _switching_to(owner)
    if not owner and (prefix := _namespace()):
        return Identity(0, prefix=prefix)
    new = unused_uid(data)
    if owner is None and new is not None:
        return _switching_to(new)
    if owner in {0, named_uid()} and new is not None:
        raise StorageError(_give_away(data, owner or 0, new))
    raise StorageError(f"{_of_another(data, owner)}: run as its owner, or choose another folder")


def _switching_to(uid: int) -> Identity:
    return Identity(uid, user=uid, group=uid)


def _of_another(data: Path, owner: int | None) -> str:
    there = "" if owner is None else name_of(owner)
    return f"{data} belongs to user {there} and this process runs as {name_of(os.geteuid())}"


def _give_away(data: Path, owner: int, new: int) -> str:
    if _namespace():
        whose = f"{data} belongs to user {name_of(owner)}, as which other programs may run"
        return f"{whose}: stop its server and run: chown -R 0:0 {data}"
    return (
        f"PostgreSQL cannot run as root, root may not create user namespaces here, and {data}"
        f" belongs to user {name_of(owner)}: run as an ordinary user, or give the data to a user"
        f" that no other program runs as: chown -R {new}:{new} {data}"
    )


@functools.cache
def _namespace() -> tuple[str, ...]:
    """Return the command for a user namespace in which this user has a name; empty if denied.

    Root prefers it to another user, who cannot enter a private ``/root``.
    """
    named = named_uid()
    if named is None:
        return ()
    command = ("unshare", "--user", f"--map-user={named}", f"--map-group={named}")
    try:
        result = subprocess.run(  # noqa: S603 - constant
            [*command, "true"], capture_output=True, check=False
        )
    except OSError:
        return ()
    return command if result.returncode == 0 else ()


def _environment() -> dict[str, str]:
    """Return this process's environment without PostgreSQL's variables, with English messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}
