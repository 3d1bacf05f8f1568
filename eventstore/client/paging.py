"""Read in pages: one page in memory, bounded in bytes, across gaps, forward and backward."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain, islice

from eventstore.model.checks import check_int
from eventstore.model.errors import DeliveryTimeoutError
from eventstore.model.events import RecordedEvent
from eventstore.model.names import MAX_POSITION
from eventstore.model.subscription import SubscriptionInfo
from eventstore.ports.storage import ReadDirection, Storage
from eventstore.ports.stored_events import StoredEvent, payload_bytes
from eventstore.ports.waits import Waits

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
    "wait_for_checkpoint",
]

_FIRST_PAUSE = 0.01


async def wait_for_checkpoint(
    storage: Storage,
    stream_id: str,
    subscription_name: str,
    position: int,
    *,
    timeout: float,
    longest_pause: float,
    waits: Waits,
) -> None:
    """Wait until the stored checkpoint has reached *position*.

    Raises:
        SubscriptionNotFoundError: The subscription does not exist.
        DeliveryTimeoutError: It was not reached within *timeout* seconds.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        info = await waits.call(storage.subscription_info, stream_id, subscription_name, deadline)
        if info.checkpoint >= position:
            return
        if time.monotonic() + pause >= deadline:
            raise _timed_out(info, position, timeout)
        await waits.pause(pause)
        pause = min(2 * pause, longest_pause)


def _timed_out(info: SubscriptionInfo, position: int, timeout: float) -> DeliveryTimeoutError:
    error = f", last error: {info.last_error}" if info.last_error else ""
    return DeliveryTimeoutError(
        f"subscription {info.subscription_name!r} to {info.stream_id!r} is {info.state} at"
        f" checkpoint {info.checkpoint}, position {position} was not acknowledged within"
        f" {timeout} s{error}",
        info.stream_id,
        info.subscription_name,
        info.state,
    )


PAGE = 1_000
"""Events in one page, unless the caller says otherwise."""

MAX_PAGE = 10_000
"""Most events in one page."""

PAGE_BYTES = 8 * 1024 * 1024
"""Bytes of payload that end a page of a lazy read: the event that reaches them is its last one."""

FROM_END = -1
"""Default start of a backward read: the newest event."""

Page = Callable[[int, int, int | None], list[StoredEvent]]
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
    if count is not None and count <= PAGE:
        return list(map(decode, read(start, count, None)))
    decoded = map(decode, chain.from_iterable(Pages(read, start, PAGE, None, direction)))
    return list(islice(decoded, None if count is None else min(count, MAX_POSITION)))


def iterated(pages: Pages, decode: Decode) -> Iterator[RecordedEvent]:
    """Iterate over events. The first page is read at once, so a missing stream is an error now."""
    pages.read_ahead()
    return map(decode, chain.from_iterable(pages))


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
        self._ahead: list[StoredEvent] | None = None
        self._ended = False

    def __next__(self) -> list[StoredEvent]:
        page = self.read()
        if not page:
            raise StopIteration
        self.go_past(page)
        return page

    def read_ahead(self) -> None:
        """Read the first page now."""
        self._ahead = self.read()

    def read(self) -> list[StoredEvent]:
        """Read the next page, empty at the end, and stay in front of it."""
        if self._ahead is not None:
            page, self._ahead = self._ahead, None
            return page
        return [] if self._ended else self._read(self._start, self._size, self._max_bytes)

    def go_past(self, page: list[StoredEvent]) -> None:
        """Go on after *page*, which is not empty."""
        self._start = page[-1].position + self._direction.value
        self._ended = self._start < 1 or _is_last(page, self._size, self._max_bytes)


def _is_last(page: list[StoredEvent], size: int, max_bytes: int | None) -> bool:
    """Tell whether nothing follows: neither its events nor its bytes ended the page."""
    return len(page) < size and (max_bytes is None or payload_bytes(page) < max_bytes)
