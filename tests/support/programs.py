"""PostgreSQL's programs, in the version of the embedded servers."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

from eventstore.embedded.binaries import find_binaries
from eventstore.embedded.identity import Identity, choose_identity

__all__ = ["dump", "identity", "programs", "restore"]


@functools.cache
def identity() -> Identity:
    """Return the user of a server with new data."""
    return choose_identity(Path(tempfile.gettempdir()) / "eventstore-no-data-yet")


@functools.cache
def programs() -> Path:
    """Return the folder of the programs."""
    return find_binaries(identity(), major=None).folder


def dump(dsn: str, file: Path) -> None:
    """Dump a database into *file* while it is in use."""
    _run("pg_dump", "--format=custom", f"--file={file}", f"--dbname={dsn}")


def restore(dsn: str, file: Path) -> None:
    """Restore a dump into a database, in one transaction, replacing its content."""
    options = ("--single-transaction", "--clean", "--if-exists", "--no-owner")
    _run("pg_restore", *options, f"--dbname={dsn}", str(file))


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [programs() / program, *arguments], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
