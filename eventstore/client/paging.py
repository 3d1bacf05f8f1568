"""Read in pages: one page in memory, across gaps, forward and backward."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from eventstore.model.checks import check_int
from eventstore.model.errors import DeliveryTimeoutError
from eventstore.model.events import RecordedEvent
from eventstore.model.names import MAX_POSITION
from eventstore.model.subscription import SubscriptionInfo
from eventstore.ports.storage import ReadDirection, Storage

__all__ = [
    "FROM_END",
    "MAX_PAGE",
    "all_events",
    "check_count",
    "check_position",
    "check_start",
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


MAX_PAGE = 10_000
"""Most events in one page."""

FROM_END = -1
"""Default start of a backward read: the newest event."""

Page = Callable[[int, int], list[RecordedEvent]]
"""Reads one page; its arguments are start and count."""


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


def pages(
    read: Page, start: int, size: int, direction: ReadDirection
) -> Iterator[list[RecordedEvent]]:
    """Read page after page. The first is read at once, so that a missing stream is an error now."""
    return _rest(read, read(start, size), size, direction)


def _rest(
    read: Page, page: list[RecordedEvent], size: int, direction: ReadDirection
) -> Iterator[list[RecordedEvent]]:
    while page:
        yield page
        if len(page) < size:
            return
        start = page[-1].position + direction.value
        if start < 1:
            return
        page = read(start, size)


def all_events(
    read: Page, start: int, count: int | None, size: int, direction: ReadDirection
) -> list[RecordedEvent]:
    """Return *count* events, or all of them, read in pages of *size*."""
    if count is not None and count <= size:
        return read(start, count)
    events: list[RecordedEvent] = []
    for page in pages(read, start, size, direction):
        events += page
        if count is not None and len(events) >= count:
            return events[:count]
    return events
