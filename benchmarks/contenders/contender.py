"""The interface of a contender, and what it is given."""

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
    """Storage for a contender, which uses the folder, the database, or both."""

    def __init__(self, folder: Path, create_database: Callable[[], str]) -> None:
        self.folder = folder
        """An empty folder on the disk of the server."""
        self._create_database = create_database

    @cached_property
    def dsn(self) -> str:
        """An empty database on the shared server, created on first use."""
        return self._create_database()


@dataclass(frozen=True, slots=True)
class Load:
    """The content of one append."""

    events: int
    size: int = 100
    """Approximate bytes of JSON per event."""
    existing: bool = False
    """Whether to append to one of 1,000 existing streams at any version; else to a new stream."""


class Contender(Protocol):
    """An event store that runs the workloads."""

    name: ClassVar[str]

    @classmethod
    def missing(cls) -> str | None:
        """Return why it cannot run here; None if it can."""

    @classmethod
    def version(cls) -> str:
        """Return its name and version, for the report."""

    @classmethod
    def start(cls, place: Place) -> Self:
        """Install it in *place* and connect."""

    @classmethod
    def join(cls, address: str) -> Self:
        """Connect from another process to one that was started."""

    @property
    def address(self) -> str:
        """The argument of `join`."""

    def append(self, load: Load, callers: int, seconds: float, start: float | None = None) -> Spell:
        """Append from *callers*, each in a closed loop; see `measure.spell`."""

    def read(self, stream: str, length: int, readers: int, seconds: float) -> Spell:
        """Read and decode a stream of *length* events from *readers*, each in a closed loop."""

    def fill(self, stream: str, number: int) -> None:
        """Append *number* small events to a new stream of this name, in large appends."""

    def read_all(self) -> Measurement:
        """Read and decode every event, oldest first."""

    def close(self) -> None:
        """Release connections, threads and processes."""


class InThreads(ABC):
    """A contender that is called by threads, one per caller."""

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
    """A contender that serves all callers in one loop, with one commit for all of them."""

    @abstractmethod
    def appender(self, load: Load, callers: int) -> Operation:
        """Return an operation that makes one append for each of *callers*."""

    @abstractmethod
    def reader(self, stream: str, length: int) -> Operation:
        """Return an operation that reads and decodes a stream of *length* events."""

    def append(self, load: Load, callers: int, seconds: float, start: float | None = None) -> Spell:
        done = spell([self.appender(load, callers)], seconds, start)
        return replace(done, callers_at_once=callers)

    def read(self, stream: str, length: int, readers: int, seconds: float) -> Spell:  # noqa: ARG002
        return spell([self.reader(stream, length)], seconds)
