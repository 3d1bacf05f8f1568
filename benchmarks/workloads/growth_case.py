"""A store of a known size, and how much of it the growth workloads use at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from eventstore import AsyncEventStore, EventStore

__all__ = [
    "APPENDS",
    "CALLERS",
    "CAUGHT_UP",
    "PAGE",
    "PER_APPEND",
    "TIMEOUT",
    "Cost",
    "Filled",
]

CALLERS = 10
APPENDS = 10
"""Operations of each caller in a slice."""
PER_APPEND = 10
PAGE = 1_000
CAUGHT_UP = 5_000
"""Events of a catch-up; freshly appended ones are not used, as they are in memory."""
TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Filled:
    """A store of a known size, for threads and for coroutines."""

    name: str
    store: EventStore
    in_loop: AsyncEventStore
    events: int
    per_stream: int

    @property
    def streams(self) -> int:
        return self.events // self.per_stream

    @property
    def page(self) -> int:
        """Events of a page."""
        return min(PAGE, self.events)

    @property
    def caught_up(self) -> int:
        """Events of a catch-up."""
        return min(CAUGHT_UP, self.events)

    def some_stream(self) -> str:
        return f"seed-{random.randint(1, self.streams)}"

    def some_position(self, events: int) -> int:
        """Return a position after which there are so many events."""
        return random.randint(0, self.events - events)


Cost = Callable[[Filled, float], float]
"""Returns the seconds per event, measured for the given time or for a fixed amount of work."""
