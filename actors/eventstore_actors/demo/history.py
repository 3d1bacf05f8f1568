"""Turns flights into events, in the order in which they happened. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, assert_never
from uuid import NAMESPACE_URL, uuid5

from eventstore import EventData
from eventstore_actors.demo.flights import Flight

__all__ = ["Happening", "Kind", "history"]


class Kind(StrEnum):
    """The event types of the demo."""

    DEPARTED = "FlightDeparted"
    ARRIVED = "FlightArrived"
    CANCELLED = "FlightCancelled"


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of one flight, before it is stored."""

    at: datetime
    kind: Kind
    flight: Flight

    @property
    def stream_id(self) -> str:
        """The stream of the aircraft; flights without an aircraft share one stream per carrier."""
        tail_number = self.flight.tail_number
        return f"aircraft-{tail_number}" if tail_number else f"unassigned-{self.flight.carrier}"

    def event(self) -> EventData:
        """Return the event to append. Its id is derived from the flight: appends are idempotent."""
        event_id = uuid5(NAMESPACE_URL, f"nycflights13/{self.kind}/{self.flight.key}")
        return EventData(self.kind.value, self._data(), event_id=event_id)

    def _data(self) -> dict[str, Any]:
        flight = self.flight
        data = {
            "carrier": flight.carrier,
            "flight": flight.number,
            "origin": flight.origin,
            "dest": flight.dest,
            "at": self.at.isoformat(),
        }
        match self.kind:
            case Kind.DEPARTED:
                return data | {"delay": flight.departure_delay}
            case Kind.ARRIVED:
                landing = {"air_time": flight.air_time, "distance": flight.distance}
                return data | {"delay": flight.arrival_delay} | landing
            case Kind.CANCELLED:
                return data
        assert_never(self.kind)


def history(flights: Iterable[Flight]) -> list[Happening]:
    """Return the events of *flights*, oldest first."""
    happenings = [happening for flight in flights for happening in _of(flight)]
    happenings.sort(key=lambda happening: happening.at)
    return happenings


def _of(flight: Flight) -> Iterator[Happening]:
    if flight.departed is None:
        yield Happening(flight.scheduled, Kind.CANCELLED, flight)
        return
    yield Happening(flight.departed, Kind.DEPARTED, flight)
    if flight.landed is not None:
        yield Happening(flight.landed, Kind.ARRIVED, flight)
