"""Long series of events, cut into appends that keep their order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from typing import Generic, NamedTuple, Protocol, TypeVar

from eventstore.client.appending import encode_event
from eventstore.client.codec import Codec
from eventstore.model.checks import shown
from eventstore.model.errors import AppendError, StreamDeletedError
from eventstore.model.events import EventData, ExpectedVersion
from eventstore.model.names import check_stream_id
from eventstore.ports.stored_events import Append, EncodedEvent, StreamAppend
from eventstore.ports.waits import Waits

__all__ = [
    "MAX_RUN_BYTES",
    "EncodedItem",
    "RunItem",
    "append_runs",
    "by_stream",
    "encoded_items",
    "halves",
    "runs",
]

MAX_RUN_BYTES = 4 * 1024 * 1024


class RunItem(Protocol):
    """An event of a series, and where it goes."""

    @property
    def stream_id(self) -> str: ...

    @property
    def size(self) -> int:
        """Bytes."""


Item = TypeVar("Item", bound=RunItem)


def runs(items: Iterable[Item], most_items: int) -> Iterator[list[Item]]:
    """Cut *items* into runs, each of which one append can store in its order.

    The items of one stream are consecutive within a run. A run has at most *most_items*, and 4 MiB
    if it has more than one. The cuts depend on the items alone. If *items* raises, the items before
    the error are yielded first.
    """
    run = _Run[Item](most_items)
    try:
        for item in items:
            if not run.takes(item):
                yield run.items
                run = _Run(most_items)
            run.add(item)
    except Exception:
        if run.items:
            yield run.items
        raise
    if run.items:
        yield run.items


def by_stream(run: list[Item]) -> Iterator[tuple[str, list[Item]]]:
    """Yield the items of a run stream by stream."""
    for stream_id, items in groupby(run, key=lambda item: item.stream_id):
        yield stream_id, list(items)


def halves(run: list[Item]) -> tuple[list[Item], list[Item]]:
    """Return both halves of a run that was refused, of which one may be stored.

    Halving finds the item at fault, and those that are stored already if they were cut differently.
    """
    middle = len(run) // 2
    return run[:middle], run[middle:]


class _Run(Generic[Item]):
    def __init__(self, most_items: int) -> None:
        self.items: list[Item] = []
        self._most_items = most_items
        self._streams: set[str] = set()
        self._size = 0

    def takes(self, item: Item) -> bool:
        if not self.items:
            return True
        return (
            len(self.items) < self._most_items
            and self._size + item.size <= MAX_RUN_BYTES
            and (item.stream_id == self.items[-1].stream_id or item.stream_id not in self._streams)
        )

    def add(self, item: Item) -> None:
        self.items.append(item)
        self._streams.add(item.stream_id)
        self._size += item.size


# ── appending them ───────────────────────────────────────────────────────────────────────────────


class EncodedItem(NamedTuple):
    """An event of a series, ready to be stored."""

    stream_id: str
    event: EncodedEvent

    @property
    def size(self) -> int:
        return self.event.size


def encoded_items(codec: Codec, items: Iterable[tuple[str, EventData]]) -> Iterator[EncodedItem]:
    """Yield *items* ready to be stored, as they are needed.

    Raises:
        TypeError, ValueError: An item is invalid.
        SerializationError: An event cannot be stored.
    """
    for item in items:
        stream_id, event = _pair(item)
        yield EncodedItem(check_stream_id(stream_id), encode_event(codec, event))


def _pair(item: object) -> tuple[str, object]:
    if not isinstance(item, tuple | list) or len(item) != 2:  # noqa: PLR2004 - a pair
        raise TypeError(f"items must be (stream_id, EventData): {shown(item)}")
    stream_id, event = item
    return stream_id, event


async def append_runs(
    series: Iterator[list[EncodedItem]],
    append: Callable[[Append], Awaitable[object]],
    waits: Waits,
) -> int:
    """Append each run of *series*, one after the other; return the number of events.

    An error carries in `stored` how many of the events surely are stored.
    """
    stored = 0
    try:
        while run := await waits.call(next, series, None):
            pending = [run]
            while pending:
                part = pending.pop()
                try:
                    await append(_append_of(part))
                except (AppendError, StreamDeletedError) as error:
                    if len(part) == 1 or error.retryable:
                        raise
                    pending += reversed(halves(part))
                else:
                    stored += len(part)
    except Exception as error:
        with suppress(AttributeError):  # not every error of an application takes it
            error.stored = stored  # type: ignore[attr-defined]
        error.add_note(f"{stored:,} events of the series are stored")
        raise
    return stored


def _append_of(run: list[EncodedItem]) -> Append:
    return tuple(
        StreamAppend(stream_id, ExpectedVersion.ANY, tuple([item.event for item in items]))
        for stream_id, items in by_stream(run)
    )
