"""Delays per carrier, computed from the flights or event by event. Pure but for the saved file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import assert_never

import msgspec

from eventstore import RecordedEvent
from eventstore_actors.demo.flights import Flight
from eventstore_actors.demo.history import Kind

__all__ = ["Board", "Delays", "delays_of"]

LATE = 15
"""Minutes from which a departure counts as late in the official statistics."""


class Delays(msgspec.Struct):
    """The sums of one carrier. Integers, so that two results can be compared exactly."""

    departed: int = 0
    departure_minutes: int = 0
    late: int = 0
    arrived: int = 0
    arrival_minutes: int = 0
    cancelled: int = 0

    @property
    def flights(self) -> int:
        return self.departed + self.cancelled

    def depart(self, delay: int) -> None:
        self.departed += 1
        self.departure_minutes += delay
        self.late += delay >= LATE

    def arrive(self, delay: int) -> None:
        self.arrived += 1
        self.arrival_minutes += delay

    def cancel(self) -> None:
        self.cancelled += 1


class Board(msgspec.Struct):
    """The delays of every carrier up to a position in the store.

    Position and delays are saved in one file, so counting is idempotent: an event that is
    redelivered after a crash is recognised by its position.
    """

    position: int = 0
    carriers: dict[str, Delays] = msgspec.field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Board:
        """Read the saved board; an empty board if there is none."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=Board)
        except FileNotFoundError:
            return cls()

    def save(self, path: Path) -> None:
        """Replace the file atomically: a kill leaves the old file or the new one."""
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(self))
        fresh.replace(path)

    def add(self, event: RecordedEvent) -> bool:
        """Count *event*; return False, without counting, if it was counted before."""
        if event.position <= self.position:
            return False
        self._count(Kind(event.event_type), event.data["carrier"], event.data.get("delay", 0))
        self.position = event.position
        return True

    def _count(self, kind: Kind, carrier: str, delay: int) -> None:
        delays = self.carriers.setdefault(carrier, Delays())
        match kind:
            case Kind.DEPARTED:
                delays.depart(delay)
            case Kind.ARRIVED:
                delays.arrive(delay)
            case Kind.CANCELLED:
                delays.cancel()
            case _:
                assert_never(kind)


def delays_of(flights: Iterable[Flight]) -> dict[str, Delays]:
    """Compute the delays of every carrier from the flights: the expected result."""
    carriers: dict[str, Delays] = {}
    for flight in flights:
        delays = carriers.setdefault(flight.carrier, Delays())
        if flight.departure_delay is None:
            delays.cancel()
            continue
        delays.depart(flight.departure_delay)
        if flight.arrival_delay is not None:
            delays.arrive(flight.arrival_delay)
    return carriers
