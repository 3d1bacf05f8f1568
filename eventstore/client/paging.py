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

__all__ = [
    "FROM_END",
    "MAX_PAGE",
    "PAGE",
    "PAGE_BYTES",
    "check_count",
    "check_position",
    "check_start",
    "iterated",
    "listed",
    "pages",
    "wait_for_checkpoint",
]

_FIRST_PAUSE = 0.01


def wait_for_checkpoint(
    storage: Storage,
    stream_id: str,
    subscription_name: str,
    position: int,
    *,
    timeout: float,
    longest_pause: float,
) -> None:
    """Block until the stored checkpoint has reached *position*.

    Raises:
        SubscriptionNotFoundError: The subscription does not exist.
        DeliveryTimeoutError: It was not reached within *timeout* seconds.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        info = storage.subscription_info(stream_id, subscription_name, deadline)
        if info.checkpoint >= position:
            return
        if time.monotonic() + pause >= deadline:
            raise _timed_out(info, position, timeout)
        time.sleep(pause)
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
    decoded = map(decode, chain.from_iterable(pages(read, start, PAGE, None, direction)))
    return list(islice(decoded, None if count is None else min(count, MAX_POSITION)))


def iterated(
    read: Page, decode: Decode, start: int, size: int, direction: ReadDirection
) -> Iterator[RecordedEvent]:
    """Iterate over events with one page of *size* in memory, or less if they are large."""
    return map(decode, chain.from_iterable(pages(read, start, size, PAGE_BYTES, direction)))


def pages(
    read: Page, start: int, size: int, max_bytes: int | None, direction: ReadDirection
) -> Iterator[list[StoredEvent]]:
    """Read page after page. The first is read at once, so that a missing stream is an error now."""

    def rest(page: list[StoredEvent]) -> Iterator[list[StoredEvent]]:
        while page:
            yield page
            if _is_last(page, size, max_bytes):
                return
            start = page[-1].position + direction.value
            if start < 1:
                return
            # There are never two pages in memory: whoever iterates is done with this one.
            page.clear()
            page = read(start, size, max_bytes)

    return rest(read(start, size, max_bytes))


def _is_last(page: list[StoredEvent], size: int, max_bytes: int | None) -> bool:
    """Tell whether nothing follows: neither its events nor its bytes ended the page."""
    return len(page) < size and (max_bytes is None or payload_bytes(page) < max_bytes)
