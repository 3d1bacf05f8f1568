"""Parked events under torture: whom they hold up, and what became of each. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from uuid import UUID

from tests.torture.journal import Entry

__all__ = [
    "PARKING",
    "PREFIX",
    "Handled",
    "Parked",
    "broken_parking",
    "handled",
    "is_poison",
    "overtaken",
]

PARKING = "parking"
"""Name of the subscription that parks events."""
PREFIX = "s-"
"""Prefix of the streams that it gets."""

_POISON, _HOPELESS = 150, 1_500
"""One of so many events fails until it was parked, and one of so many for ever."""


def is_poison(event_id: UUID, *, replay: bool) -> bool:
    """Return whether an event fails, in whichever process: at first, or for ever."""
    return event_id.int % (_HOPELESS if replay else _POISON) == 0


@dataclass(frozen=True, slots=True)
class Handled:
    """An event that a process has handled."""

    at: float
    stream_id: str
    position: int
    replay: bool


@dataclass(frozen=True, slots=True)
class Parked:
    """An event that is parked at the end, or was skipped."""

    position: int
    skipped_at: float | None
    """On the clock of the journals; None: it is parked."""


def handled(journal: Iterable[Entry]) -> list[Handled]:
    """Return what one reader has handled."""
    return [
        Handled(entry["at"], entry["stream"], entry["position"], entry["replay"])
        for entry in journal
        if entry["what"] == "handled"
    ]


def broken_parking(
    streams: Mapping[int, str],
    told: Sequence[Handled],
    parked: Sequence[Parked],
    hopeless: AbstractSet[int] = frozenset(),
) -> Iterator[str]:
    """Yield what is lost or stuck of the events of the subscription that parks some.

    Args:
        streams: The stream of each event that it has to deliver, by position.
        told: What its processes have handled.
        parked: What is parked at the end, after all was delivered again, or was skipped.
        hopeless: Positions of the events that fail for ever.
    """
    known = {event.position for event in told}
    skipped = {event.position for event in parked if event.skipped_at is not None}
    waiting = {event.position for event in parked if event.skipped_at is None}
    if lost := streams.keys() - known - skipped - waiting:
        yield f"{len(lost)} neither handled nor parked: {sorted(lost)[:3]}"
    if both := waiting & known:
        yield f"{len(both)} handled and parked: {sorted(both)[:3]}"
    held_up_from: dict[str, int] = {}
    for position in sorted(waiting & hopeless, reverse=True):
        held_up_from[streams[position]] = position
    stuck = {each for each in waiting - known if each < held_up_from.get(streams[each], each + 1)}
    if stuck:
        yield f"{len(stuck)} parked that nothing holds up: {sorted(stuck)[:3]}"


def overtaken(
    streams: Mapping[int, str], told: Iterable[Handled], parked: Iterable[Parked]
) -> Iterator[str]:
    """Yield which events were handled before an earlier one of their stream was done.

    It is done when it is first handled or when it is skipped. Those that come again may do so out
    of order. See `broken_parking` for the arguments.
    """
    done = {event.position: event.skipped_at or math.inf for event in parked}
    first: dict[int, float] = {}
    for event in sorted(told, key=lambda event: event.at):
        first.setdefault(event.position, event.at)
    latest: dict[str, tuple[float, int]] = {}
    for position in sorted(streams.keys() & (first.keys() | done.keys())):
        at = first.get(position, math.inf)
        stream_id = streams[position]
        before, earlier = latest.get(stream_id, (0.0, 0))
        if at < before:
            yield f"{position} of {stream_id} was handled before {earlier}"
        is_done = min(at, done.get(position, math.inf))
        latest[stream_id] = max((before, earlier), (is_done, position))
