"""Values of the storage port for reads. Pure."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from eventstore.model.event_filter import EventFilter
from eventstore.ports.stored_events import StoredEvent

__all__ = ["MOST_POSITIONS", "Examined", "ReadDirection", "positions_at_once"]

MOST_POSITIONS = 20_000
"""Positions that one read with a filter looks at: some 10 ms."""

_MOST_WITH_METADATA = 2_000
"""The same if it parses their metadata, which may be large: some 10 ms for 100 bytes each."""


class ReadDirection(Enum):
    """Which way a read goes."""

    FORWARD = 1
    BACKWARD = -1


class Examined(NamedTuple):
    """A page of a read: the events of a range of positions that are wanted."""

    events: list[StoredEvent]
    """With a filter also those of which only the reader of their format can tell."""
    up_to: int
    """The last position that was looked at, deleted ones included; never beyond the head."""
    at_end: bool
    """Nothing is beyond it."""


def positions_at_once(event_filter: EventFilter) -> int:
    """Return at how many positions one read with a filter looks, so that each read ends soon."""
    return _MOST_WITH_METADATA if event_filter.metadata else MOST_POSITIONS
