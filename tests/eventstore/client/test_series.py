"""The next run of a series is prepared while the server has the one before, and not sooner."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from typing import Any
from uuid import UUID

from eventstore.client.series import EncodedItem, append_runs
from eventstore.ports.stored_events import EncodedEvent, WatchedAppend
from eventstore.ports.waits import BLOCKING


class Signal:
    """Suspends the waiter once; it must be set by then."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        self.is_set = True

    async def wait(self, seconds: float) -> bool:
        assert seconds == math.inf
        await Suspended()
        assert self.is_set
        return True


class Suspended:
    def __await__(self) -> Generator[str, None, None]:
        yield "suspended"


class Waits:
    """Suspends the caller instead of blocking."""

    signal, call, pause = Signal, BLOCKING.call, BLOCKING.pause


class Begun:
    """An append under way, which the test ends."""

    def __init__(self, append: WatchedAppend) -> None:
        self.append = append
        self._when_done: list[Callable[[object], object]] = []

    def __await__(self) -> Generator[str, None, None]:
        yield "suspended"

    def add_done_callback(self, done: Callable[[object], object], /) -> None:
        self._when_done.append(done)

    def end(self) -> None:
        for done in self._when_done:
            done(self)

    def cancel(self) -> bool:
        return False


def runs(number: int, prepared: list[int]) -> Iterator[list[EncodedItem]]:
    """Yield runs of one event each, and note which were asked for."""
    for each in range(number):
        prepared.append(each)
        yield [EncodedItem("a", EncodedEvent(UUID(int=each + 1), "X", b"1"), 1)]


def stepped(number: int) -> tuple[Any, list[int], list[Begun]]:
    """Return a series under way, the runs that were prepared, and the appends that were begun."""
    prepared: list[int] = []
    begun: list[Begun] = []

    def begin(append: WatchedAppend) -> Begun:
        begun.append(Begun(append))
        return begun[-1]

    series = append_runs(runs(number, prepared), begin, Waits())  # type: ignore[arg-type]
    series.send(None)
    return series, prepared, begun


def test_a_run_is_prepared_after_the_one_before_was_sent_and_before_it_is_stored() -> None:
    """Sooner, it would keep the interpreter from sending; later, the server would wait for it."""
    series, prepared, begun = stepped(2)
    assert (prepared, len(begun)) == ([0], 1)
    begun[0].append.note_sending()
    series.send(None)
    assert (prepared, len(begun)) == ([0, 1], 1)
    series.close()


def test_what_ends_without_being_sent_keeps_nobody_waiting() -> None:
    """G25: it was refused, merged with others, or there is no server."""
    series, prepared, begun = stepped(2)
    begun[0].end()
    series.send(None)
    assert (prepared, len(begun)) == ([0, 1], 1)
    series.close()


def test_one_run_is_under_way_at_a_time() -> None:
    """G3: the order of a series is that of its commits."""
    series, prepared, begun = stepped(2)
    begun[0].append.note_sending()
    series.send(None)
    assert len(begun) == 1
    series.send(None)
    assert (prepared, len(begun)) == ([0, 1], 2)
    series.close()
