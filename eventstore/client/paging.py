"""Read in pages: one page in memory, bounded in bytes, across gaps, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice

from eventstore.model.checks import check_int
from eventstore.model.events import RecordedEvent
from eventstore.model.names import MAX_POSITION
from eventstore.ports.reads import Examined, ReadDirection
from eventstore.ports.stored_events import StoredEvent, payload_bytes

__all__ = [
    "FROM_END",
    "MAX_PAGE",
    "PAGE",
    "PAGE_BYTES",
    "Decode",
    "Page",
    "Pages",
    "check_count",
    "check_position",
    "check_start",
    "iterated",
    "listed",
    "unfiltered",
]

PAGE = 1_000
"""Events in one page, unless the caller says otherwise."""

MAX_PAGE = 10_000
"""Most events in one page."""

PAGE_BYTES = 8 * 1024 * 1024
"""Bytes of payload that end a page of a lazy read: the event that reaches them is its last one."""

FROM_END = -1
"""Default start of a backward read: the newest event."""

Page = Callable[[int, int, int | None], Examined]
"""Reads one page; its arguments are start, count and, unless None, the bytes that end it."""

Decode = Callable[[StoredEvent], RecordedEvent]


def check_count(name: str, value: object) -> int:
    """Return *value* if a page can have that many events, 1 to `MAX_PAGE`.

    Raises:
        TypeError, ValueError: It cannot; the message names *name*.
    """
    return check_int(name, value, least=1, most=MAX_PAGE)


def check_position(name: str, value: object, *, least: int = 0) -> int:
    """Return *value* if it is a position of *least* or more, at most the highest possible.

    Raises:
        TypeError, ValueError: It is not; the message names *name*.
    """
    return min(check_int(name, value, least=least), MAX_POSITION)


def check_start(name: str, value: object, direction: ReadDirection) -> int:
    """Return the position to start at; -1 of a backward read becomes the highest possible.

    Raises:
        TypeError, ValueError: Not a position; the message names *name*.
    """
    if direction is ReadDirection.FORWARD:
        return check_position(name, value, least=1)
    return MAX_POSITION if value == FROM_END else check_position(name, value)


def listed(
    read: Page, decode: Decode, start: int, count: int | None, direction: ReadDirection
) -> list[RecordedEvent]:
    """Return *count* events, or all of them. How many bytes they have is the caller's concern."""
    size = PAGE if count is None else min(count, PAGE)
    decoded = map(decode, chain.from_iterable(Pages(read, start, size, None, direction)))
    return list(islice(decoded, None if count is None else min(count, MAX_POSITION)))


def iterated(pages: Pages, decode: Decode) -> Iterator[RecordedEvent]:
    """Iterate over events. The first page is read at once, so a missing stream is an error now."""
    pages.read_ahead()
    return map(decode, chain.from_iterable(pages))


def unfiltered(
    events: list[StoredEvent],
    start: int,
    size: int,
    max_bytes: int | None,
    direction: ReadDirection,
) -> Examined:
    """Return a page of a read without a filter: the *events* from *start* on.

    Args:
        events: What was read.
        start: Where it began.
        size: Most events of the page.
        max_bytes: The event with which it has so many bytes is its last one; None: any number.
        direction: Which way it went.
    """
    is_full = len(events) == size or (max_bytes is not None and payload_bytes(events) >= max_bytes)
    up_to = events[-1].position if events else start - direction.value
    return Examined(events, up_to, at_end=not is_full)


class Pages(Iterator[list[StoredEvent]]):
    """Page after page of a read, none of which it keeps."""

    def __init__(
        self, read: Page, start: int, size: int, max_bytes: int | None, direction: ReadDirection
    ) -> None:
        self._read = read
        self._start = start
        self._size = size
        self._max_bytes = max_bytes
        self._direction = direction
        self._ahead: Examined | None = None
        self._ended = False

    def __next__(self) -> list[StoredEvent]:
        page = self.read()
        if not page.events:
            raise StopIteration
        self.go_past(page)
        return page.events

    def read_ahead(self) -> None:
        """Read the first page now."""
        self._ahead = self.read()

    def read(self) -> Examined:
        """Read the next page with an event, an empty one at the end, and stay in front of it."""
        if self._ahead is not None:
            page, self._ahead = self._ahead, None
            return page
        start = self._start
        page = Examined([], start, at_end=self._ended)
        while not (page.events or page.at_end):
            page = self._read(start, self._size, self._max_bytes)
            start = page.up_to + self._direction.value
        return page

    def go_past(self, page: Examined) -> None:
        """Go on after *page*."""
        self._start = page.up_to + self._direction.value
        self._ended = self._start < 1 or page.at_end
