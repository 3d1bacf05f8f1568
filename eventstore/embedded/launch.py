"""Starts, attaches to and stops the server of a folder."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo

from eventstore.embedded.binaries import find_binaries
from eventstore.embedded.home import NoServerError
from eventstore.embedded.identity import choose_identity
from eventstore.embedded.locks import FileLock
from eventstore.embedded.sockets import (
    PORT,
    create_socket_folder,
    is_private,
    listener,
    remove_socket_folder,
)
from eventstore.model.errors import StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from eventstore.embedded.binaries import Binaries
    from eventstore.embedded.deadline import Deadline
    from eventstore.embedded.home import Home

_IN_BACKGROUND = ("/bin/sh", "-c", '"$@" &', "sh")
"""Makes the server a child of init, which reaps it: it may outlive this process."""

_DEFAULTS = {
    "cluster_name": "eventstore",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "log_checkpoints": "off",  # the log of a healthy server must not grow
}

RESERVED = frozenset(
    {"listen_addresses", "port", "unix_socket_directories", "data_directory", "logging_collector"}
)
"""Settings that the launcher sets itself."""


_LOG_SHOWN = 2_000
"""Most bytes of the log that an error shows."""


@dataclass(frozen=True, slots=True)
class _Launch:
    """A server that was started and does not answer yet."""

    socket_folder: Path
    log_start: int
    """Offset of its first line in the log."""


def ensure_running(
    home: Home, settings: Mapping[str, str], deadline: Deadline, *, create: bool
) -> Path:
    """Attach to the server of *home*, or start it; the caller holds the start lock.

    Args:
        home: The folder of the server.
        settings: Settings of a server that is started.
        deadline: When it must answer.
        create: Make the data if there are none.

    Returns:
        The folder of its socket.

    Raises:
        NoServerError: There are no data, and *create* is False.
        StorageError: The server cannot be started here; the message says why.
        StorageUnavailableError: It runs, but accepted no connection before the deadline.
    """
    launched: _Launch | None = None
    while True:
        socket_folder, reason = _attach(home)
        if socket_folder is not None:
            return socket_folder
        guard = FileLock(home.server_lock)
        try:
            if guard.try_exclusive():
                if launched is not None:
                    raise _ended(home, launched)
                if not home.data.exists():
                    _create(home, guard, allowed=create)
                launched = _launch(home, settings, guard)
        finally:
            # Also after an error: a process that was started may still run and hold the lock.
            guard.hand_over()
        _pause(home, deadline, reason)


def dsn_of(socket_folder: Path) -> str:
    return make_conninfo(host=str(socket_folder), port=PORT, user="postgres", dbname="postgres")


def has_ended(home: Home) -> bool:
    """Return whether no process of the server of *home* is left; one may be about to start it."""
    with FileLock(home.server_lock) as guard:
        return guard.try_exclusive()


def stop(home: Home, socket_folder: Path, deadline: Deadline) -> None:
    """Stop the server of *home* if it runs, and wait until its last process has ended.

    Raises:
        StorageUnavailableError: It did not end before the deadline.
    """
    with FileLock(home.server_lock) as guard:
        postmaster = home.postmaster()
        # Only orphans may be left of it: then its process id may be that of another program.
        if postmaster is not None and listener(postmaster.socket_folder) == postmaster.pid:
            _ask_to_end(postmaster.pid)
        while not guard.try_exclusive():
            _pause(home, deadline, None)
        remove_socket_folder(socket_folder)


def stop_lost(socket_folder: Path) -> None:
    """Ask the server that listens there to end; its folder is gone, so nobody else can find it."""
    if pid := listener(socket_folder):
        _ask_to_end(pid)


def _ask_to_end(pid: int) -> None:
    """Ask a server for a fast shutdown."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)


def _attach(home: Home) -> tuple[Path | None, psycopg.Error | None]:
    """Connect to the server of this folder, as the only proof that it runs.

    Returns:
        Its socket folder if it answered, and the error if the connection failed.
    """
    postmaster = home.postmaster()
    if postmaster is None or not is_private(postmaster.socket_folder, home.data.stat().st_uid):
        return None, None
    dsn = dsn_of(postmaster.socket_folder)
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=2) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
    except psycopg.Error as error:
        return None, error
    # A copy of a folder contains the postmaster.pid of the original's server.
    return (postmaster.socket_folder if row == (str(home.data),) else None), None


def _launch(home: Home, settings: Mapping[str, str], guard: FileLock) -> _Launch:
    """Start the server without waiting for it."""
    identity = choose_identity(home.data)
    binaries = find_binaries(identity, home.major())
    identity.admit(home.path)
    socket_folder = create_socket_folder(home, identity)
    home.rotate_log()
    stale = home.postmaster()
    # The server lock was free, so this pid is no longer the server's; it may be a zombie's or
    # another program's. PostgreSQL ignores its grandparent's pid and still checks shared memory.
    env = {} if stale is None else {"PG_GRANDPARENT_PID": str(stale.pid)}
    with home.open_log() as log:
        launch = _Launch(socket_folder, log.tell())
        identity.run(
            (*_IN_BACKGROUND, *_command(home, binaries, socket_folder, settings)),
            output=log,
            pass_fds=(guard.fd,),
            env=env,
        )
    return launch


def _ended(home: Home, launch: _Launch) -> StorageError:
    """Clean up after a server that ended at its start, and return the error to raise."""
    remove_socket_folder(launch.socket_folder)
    return StorageError(
        f"the server ended at its start:\n{home.log_from(launch.log_start, _LOG_SHOWN)}"
    )


def _command(
    home: Home, binaries: Binaries, socket_folder: Path, settings: Mapping[str, str]
) -> list[str | Path]:
    needed = {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": f'"{socket_folder}"',
        "logging_collector": "off",
    }
    options = (
        ("-c", f"{name}={value}") for name, value in (_DEFAULTS | {**settings} | needed).items()
    )
    return [binaries.postgres, "-D", home.data, *chain.from_iterable(options)]


def _create(home: Home, guard: FileLock, *, allowed: bool) -> None:
    """Create the data in a temporary folder and rename it: a crash leaves no partial data."""
    if not allowed:
        raise NoServerError(f"there is no embedded server in {home.path}")
    identity = choose_identity(home.data)
    creator = identity.for_initdb()
    binaries = find_binaries(identity, None)
    identity.admit(home.path)
    shutil.rmtree(home.unfinished, ignore_errors=True)
    home.unfinished.mkdir(mode=0o700)
    creator.gate(home.unfinished)
    data = home.unfinished / "data"
    data.mkdir(mode=0o700)
    creator.own(data)
    command: list[str | Path] = [
        binaries.initdb,
        *("-D", data),
        "--username=postgres",
        "--auth-local=trust",  # the socket's folder is private
        "--auth-host=reject",
        "--encoding=UTF8",
        "--no-locale",
        "--data-checksums",
        "--no-instructions",
    ]
    # An initdb that outlives this process holds the lock, so the next start waits for it.
    code, said = creator.ask(command, pass_fds=(guard.fd,))
    if code != 0:
        raise StorageError(f"initdb failed: {said}{identity.hint}")
    identity.own_all(data)
    home.adopt(data)
    home.unfinished.rmdir()


def _pause(home: Home, deadline: Deadline, reason: psycopg.Error | None) -> None:
    if deadline.pause():
        return
    postmaster = home.postmaster()
    process = "a process" if postmaster is None else f"process {postmaster.pid}"
    raise StorageUnavailableError(
        f"{process} of the server in {home.path} runs, but neither answers nor ends within"
        f" {deadline.timeout:g} s; see {home.log}"
    ) from reason
