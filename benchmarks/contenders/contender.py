"""What every contender can do, and what it gets to do it with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol, Self

from benchmarks.measuring.measure import Operation, Spell, spell
from benchmarks.measuring.workload import Measurement

__all__ = ["Contender", "InOneLoop", "InThreads", "Load", "Operation", "Place"]


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
    """An event store on its way through the workloads."""

    name: ClassVar[str]

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

    def append(self, load: Load, callers: int, seconds: float, start: float | None = None) -> Spell:
        """Let *callers* append, each one after the other; see `measure.spell`."""

    def read(self, stream: str, length: int, readers: int, seconds: float) -> Spell:
        """Let *readers* read and decode a stream of *length* events, again and again."""

    def fill(self, stream: str, number: int) -> None:
        """Store *number* small events in a new stream of this name, in large appends."""

    def read_all(self) -> Measurement:
        """Read and decode every event, oldest first."""

    def close(self) -> None:
        """Give up connections, threads and processes."""


class InThreads(ABC):
    """A contender that threads call, one per caller."""

    @abstractmethod
    def appender(self, load: Load) -> Operation:
        """Return an operation that makes one append."""

    @abstractmethod
    def reader(self, stream: str, length: int) -> Operation:
        """Return an operation that reads and decodes a stream of *length* events."""

    def append(self, load: Load, callers: int, seconds: float, start: float | None = None) -> Spell:
        return spell([self.appender(load) for _ in range(callers)], seconds, start)

    def read(self, stream: str, length: int, readers: int, seconds: float) -> Spell:
        return spell([self.reader(stream, length) for _ in range(readers)], seconds)


class InOneLoop(ABC):
    """A contender that does in one loop what all callers want, a commit for all of them."""

    @abstractmethod
    def appender(self, load: Load, callers: int) -> Operation:
        """Return an operation that makes an append for each of *callers*."""

    @abstractmethod
    def reader(self, stream: str, length: int) -> Operation:
        """Return an operation that reads and decodes a stream of *length* events."""

    def append(self, load: Load, callers: int, seconds: float, start: float | None = None) -> Spell:
        done = spell([self.appender(load, callers)], seconds, start)
        return replace(done, callers_at_once=callers)

    def read(self, stream: str, length: int, readers: int, seconds: float) -> Spell:  # noqa: ARG002
        return spell([self.reader(stream, length)], seconds)
