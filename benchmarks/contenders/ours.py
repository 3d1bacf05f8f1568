"""This store as an application uses it, with facade and actors."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import version
from itertools import cycle
from typing import ClassVar, Self

from benchmarks.contenders.contender import InThreads, Load, Operation, Place
from benchmarks.contenders.load import EXISTING, events, new_stream, payload
from benchmarks.measuring.measure import timed
from benchmarks.measuring.workload import Measurement
from eventstore import EventStore, ExpectedVersion

__all__ = ["Ours"]


class Ours(InThreads):
    """One store with its runtime."""

    name: ClassVar = "ours"

    def __init__(self, store: EventStore) -> None:
        self.store = store

    @classmethod
    def missing(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return f"eventstore {version('eventstore')}"

    @classmethod
    def start(cls, place: Place) -> Self:
        return cls(EventStore.connect(place.dsn, init=True))

    @classmethod
    def join(cls, address: str) -> Self:
        return cls(EventStore.connect(address))

    @property
    def address(self) -> str:
        return self.store.dsn

    def close(self) -> None:
        self.store.close()

    def appender(self, load: Load) -> Operation:
        data = payload(load.size)
        streams = self._existing if load.existing else iter(new_stream, "")
        version = ExpectedVersion.ANY if load.existing else ExpectedVersion.NO_STREAM

        def append() -> None:
            self.store.append_to_stream(next(streams), version, events(load.events, data))

        return append

    @cached_property
    def _existing(self) -> Iterator[str]:
        names = [new_stream() for _ in range(EXISTING)]
        self.store.append_to_streams([(n, ExpectedVersion.NO_STREAM, events(1)) for n in names])
        return cycle(names)

    def fill(self, stream: str, number: int) -> None:
        for start in range(0, number, 1_000):
            more = events(min(1_000, number - start))
            self.store.append_to_stream(stream, ExpectedVersion.ANY, more)

    def reader(self, stream: str, length: int) -> Operation:
        def read() -> None:
            assert len(self.store.read_stream_forward(stream)) == length

        return read

    def read_all(self) -> Measurement:
        return timed(self._read_everything)

    def _read_everything(self) -> int:
        return sum(1 for _ in self.store.stream_all_forward())
