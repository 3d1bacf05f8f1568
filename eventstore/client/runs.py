"""Cut a long series of events into runs, which one append each can store in its order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Protocol, TypeVar

__all__ = ["MAX_RUN_BYTES", "RunItem", "by_stream", "halves", "runs"]

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
    run: list[Item] = []
    size, last, streams = 0, "", set[str]()
    try:
        # This runs for every event of a series: no call to spare.
        for item in items:
            stream_id, more = item.stream_id, item.size
            if run and (
                len(run) >= most_items
                or size + more > MAX_RUN_BYTES
                or (stream_id != last and stream_id in streams)
            ):
                yield run
                run = []
                size, last, streams = 0, "", set()
            run.append(item)
            size += more
            if stream_id != last:
                streams.add(stream_id)
                last = stream_id
    except Exception:
        if run:
            yield run
        raise
    if run:
        yield run


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
