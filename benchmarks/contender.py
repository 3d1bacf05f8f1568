"""What every contender can do, and what it gets to do it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol, Self

__all__ = ["Contender", "Load", "Operation", "Place", "appenders"]

Operation = Callable[[], None]
"""One unit of work, done again and again by one thread."""


class Place:
    """Where a contender keeps its events: it takes what it needs."""

    def __init__(self, folder: Path, create_database: Callable[[], str]) -> None:
        self.folder = folder
        """A fresh folder of its own, on the disk of the server."""
        self._create_database = create_database

    @cached_property
    def dsn(self) -> str:
        """A fresh database of its own, on the server that all share."""
        return self._create_database()


@dataclass(frozen=True, slots=True)
class Load:
    """What is appended by one append."""

    events: int
    size: int = 100
    """Bytes of JSON of one event, about."""
    existing: bool = False
    """To one of 1,000 existing streams, at whatever version; else to a new one, expecting none."""


class Contender(Protocol):
    """An event store on its way through the workloads. Any thread may use it."""

    name: ClassVar[str]
    in_one_loop: ClassVar[bool]
    """One loop does the work of all callers, a commit for all of them; else each has a thread."""

    @classmethod
    def missing(cls) -> str | None:
        """Return why it cannot run here; None: it can."""

    @classmethod
    def version(cls) -> str:
        """Return its name and version, for the report."""

    @classmethod
    def start(cls, place: Place) -> Self:
        """Install it in *place* and connect."""

    @classmethod
    def join(cls, address: str) -> Self:
        """Connect to one that was started, from another process."""

    @property
    def address(self) -> str:
        """What `join` needs."""

    def appender(self, load: Load, group: int = 1) -> Operation:
        """Return an operation that makes *group* appends; more than one only `in_one_loop`."""

    def fill(self, stream: str, number: int) -> None:
        """Store *number* small events in a stream of this name, in large appends."""

    def reader(self, stream: str, events: int) -> Operation:
        """Return an operation that reads and decodes the *events* events of a stream."""

    def read_all(self) -> int:
        """Read and decode every event, oldest first; return how many there are."""

    def close(self) -> None:
        """Give up connections, threads and processes."""


def appenders(contender: Contender, load: Load, callers: int) -> list[Operation]:
    """Return what the threads do that make the appends of *callers*."""
    if contender.in_one_loop:
        return [contender.appender(load, group=callers)]
    return [contender.appender(load) for _ in range(callers)]
