"""The cases of the catch-up workloads, and what their selector passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.workloads.seeding import RARE_TYPE
from eventstore import RecordedEvent

__all__ = ["TIMEOUT", "CatchUp", "is_rare"]

Subscriber = Literal["function", "actor", "actor, each event"]
"""What acknowledges: a returning function, an actor per batch, or an actor per event."""

TIMEOUT = 600.0
"""Seconds until everything must be acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUp:
    """One case: number of events, and number and kind of subscriptions."""

    events: int
    """Events for each subscription."""
    subscriptions: int = 1
    subscriber: Subscriber = "function"
    batch_by: Literal["stream", "any"] = "stream"
    selects: bool = False
    """Whether a selector passes one event in a hundred; the store acknowledges the others."""
    rounds: int | None = None

    @property
    def passing(self) -> int:
        """Number of events that each subscription receives."""
        return self.events // 100 if self.selects else self.events

    @property
    def name(self) -> str:
        parts = [f"{self.events:,} events, {self.subscriptions} at once"]
        if self.subscriber != "function":
            parts.append(f"acknowledged by an {self.subscriber}")
        if self.batch_by == "any":
            parts.append("batches of any stream")
        if self.selects:
            parts.append("selector passes 1 %")
        return "; ".join(parts)


def is_rare(event: RecordedEvent) -> bool:
    return event.event_type == RARE_TYPE
