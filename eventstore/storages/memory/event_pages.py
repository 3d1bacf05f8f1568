"""Pages of the events of a store in memory, with and without a filter. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

from eventstore.model.event_filter import EventFilter
from eventstore.ports.reads import Examined, ReadDirection, positions_at_once
from eventstore.ports.stored_events import StoredEvent, payload_bytes

__all__ = ["Wanted", "ended_by_bytes", "examined", "page_of", "within_bytes"]

_position = attrgetter("position")


def page_of(
    events: list[StoredEvent], start: int, count: int, direction: ReadDirection
) -> list[StoredEvent]:
    """Return up to *count* events from position *start* on."""
    if direction is ReadDirection.FORWARD:
        first = bisect_left(events, start, key=_position)
        return events[first : first + count]
    end = bisect_right(events, start, key=_position)
    return events[max(end - count, 0) : end][::-1]


def ended_by_bytes(page: list[StoredEvent], max_bytes: int | None) -> list[StoredEvent]:
    """Return *page* up to the event with which it has *max_bytes* bytes; None: all of it."""
    if max_bytes is None or payload_bytes(page) < max_bytes:
        return page
    before = accumulate((event.size for event in page), initial=0)
    return [event for event, size in zip(page, before, strict=False) if size < max_bytes]


def within_bytes(events: Iterable[StoredEvent], max_bytes: int) -> list[StoredEvent]:
    """Return the first events, of *max_bytes* bytes at most; the first one whatever its size."""
    found: list[StoredEvent] = []
    size = 0
    for event in events:
        size += event.size
        if found and size > max_bytes:
            break
        found.append(event)
    return found


class Wanted(NamedTuple):
    """What a page with a filter may hold."""

    event_filter: EventFilter
    most: int
    max_bytes: int | None


def examined(
    events: Sequence[StoredEvent], head: int, start: int, direction: ReadDirection, wanted: Wanted
) -> Examined:
    """Look at *events*, which are sorted by position, from *start* on."""
    most = positions_at_once(wanted.event_filter)
    if direction is ReadDirection.FORWARD:
        last = min(start + most - 1, head)
        page, ended = _matching(_within(events, start, last), wanted)
        up_to = page[-1].position if ended else max(last, start - 1)
        return Examined(page, up_to, at_end=up_to >= head)
    last = min(start, head)
    first = max(last - most + 1, 1)
    page, ended = _matching(_within(events, first, last)[::-1], wanted)
    up_to = page[-1].position if ended else first
    return Examined(page, up_to, at_end=up_to <= 1)


def _within(events: Sequence[StoredEvent], first: int, last: int) -> Sequence[StoredEvent]:
    begin = bisect_left(events, first, key=_position)
    return events[begin : bisect_right(events, last, key=_position)]


def _matching(events: Sequence[StoredEvent], wanted: Wanted) -> tuple[list[StoredEvent], bool]:
    """Return the events of a page, and whether its limits ended it before the last of *events*."""
    page: list[StoredEvent] = []
    size = 0
    for event in events:
        if wanted.event_filter.decide(event) is False:
            continue
        size += event.size
        if page and wanted.max_bytes is not None and size > wanted.max_bytes:
            return page, True
        page.append(event)
        if len(page) == wanted.most:
            return page, True
    return page, False
