"""Append a long series of events: prepare the next run while the server stores the one before."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from eventstore.client.appending import encode_event
from eventstore.client.codec import Codec
from eventstore.client.runs import by_stream, halves
from eventstore.model.checks import shown
from eventstore.model.errors import AppendError, StreamDeletedError
from eventstore.model.events import ExpectedVersion
from eventstore.model.names import check_stream_id
from eventstore.ports.stored_events import EncodedEvent, StreamAppend, WatchedAppend
from eventstore.ports.waits import BLOCKING, Waits, run_blocking

__all__ = ["EncodedItem", "append_blocking", "append_runs", "encoded_items"]


class EncodedItem(msgspec.Struct, frozen=True, gc=False):
    """An event of a series, ready to be stored."""

    stream_id: str
    event: EncodedEvent
    size: int
    """Bytes of data and metadata."""


def encoded_items(codec: Codec, items: Iterable[object]) -> Iterator[EncodedItem]:
    """Yield *items* ready to be stored, as they are needed.

    Raises:
        TypeError, ValueError: An item is invalid.
        SerializationError: An event cannot be stored.
    """
    checked: Any = object()  # no stream id
    for item in items:
        if not isinstance(item, tuple | list) or len(item) != 2:  # noqa: PLR2004 - a pair
            raise TypeError(f"items must be (stream_id, EventData): {shown(item)}")
        stream_id, event = item
        # Most items go to the stream of the one before.
        if stream_id is not checked:
            checked = check_stream_id(stream_id)
        encoded = encode_event(codec, event)
        yield EncodedItem(checked, encoded, encoded.size)


class Begun(Awaitable[object], Protocol):
    """An append that is under way; waiting for it raises why it failed."""

    def add_done_callback(self, done: Callable[[object], object], /) -> None:
        """Call *done* when it has ended, whether it was stored or not."""

    def cancel(self) -> object:
        """Do not wait for it any more; it may be stored."""


Begin = Callable[[WatchedAppend], Begun]
"""Begins an append and does not wait for it."""


class _Sending:
    """The run under way, of which there is at most one, and how many events are stored."""

    def __init__(self, begin: Begin, waits: Waits) -> None:
        self.stored = 0
        self._begin = begin
        self._waits = waits
        self._sent: tuple[list[EncodedItem], Begun] | None = None

    async def send(self, run: list[EncodedItem]) -> None:
        """Begin to append *run*, after the one before was settled; return when it is sent.

        Whoever prepares the next run holds the interpreter, for 5 ms at a time: begun earlier, that
        work would come before the sending, and the server would have nothing to do meanwhile.
        """
        sent = self._waits.signal()
        begun = self._begin(_append_of(run, sent.set))
        self._sent = (run, begun)
        begun.add_done_callback(lambda _: sent.set())
        await sent.wait(math.inf)

    async def settle(self) -> None:
        """Wait for the run under way; where it is refused, append it in halves."""
        if self._sent is None:
            return
        (part, begun), self._sent = self._sent, None
        left: list[list[EncodedItem]] = []
        while True:
            try:
                await begun
            except (AppendError, StreamDeletedError) as error:
                if len(part) == 1 or error.retryable:
                    raise
                left += reversed(halves(part))
            else:
                self.stored += len(part)
            if not left:
                return
            part = left.pop()
            begun = self._begin(_append_of(part, _nothing))

    def drop(self) -> None:
        """Wait for nothing any more."""
        if self._sent is not None:
            self._sent[1].cancel()


async def append_runs(series: Iterator[list[EncodedItem]], begin: Begin, waits: Waits) -> int:
    """Append each run of *series*, one after the other; return the number of events.

    The next run is prepared while the server stores the one before it. An error carries in `stored`
    how many of the events surely are stored.
    """
    sending = _Sending(begin, waits)
    try:
        try:
            while run := await waits.call(next, series, None):
                await sending.settle()
                await sending.send(run)
        except Exception:
            await sending.settle()
            raise
        await sending.settle()
    except Exception as error:
        with suppress(AttributeError):  # not every error of an application takes it
            error.stored = sending.stored  # type: ignore[attr-defined]
        error.add_note(f"{sending.stored:,} events of the series are stored")
        raise
    except BaseException:
        sending.drop()
        raise
    return sending.stored


class _InThread:
    """An append that a thread makes."""

    def __init__(self, future: Future[object]) -> None:
        self._future = future

    def __await__(self) -> Generator[None, None, object]:
        return self._future.result()
        yield  # makes it a generator, which never suspends

    def add_done_callback(self, done: Callable[[object], object], /) -> None:
        self._future.add_done_callback(done)

    def cancel(self) -> object:
        return self._future.cancel()


def append_blocking(
    series: Iterator[list[EncodedItem]], append: Callable[[WatchedAppend], object]
) -> int:
    """Do what `append_runs` does, with *append*, which blocks, in a thread."""
    with ThreadPoolExecutor(1, "eventstore-series") as thread:

        def begin(run: WatchedAppend) -> Begun:
            return _InThread(thread.submit(append, run))

        return run_blocking(append_runs(series, begin, BLOCKING))


def _append_of(run: list[EncodedItem], note_sending: Callable[[], object]) -> WatchedAppend:
    parts = [
        StreamAppend(stream_id, ExpectedVersion.ANY, tuple([item.event for item in items]))
        for stream_id, items in by_stream(run)
    ]
    return WatchedAppend(parts, note_sending)


def _nothing() -> None:
    """Nobody waits for a half to be sent."""
