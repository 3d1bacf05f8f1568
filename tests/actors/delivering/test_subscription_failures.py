"""Handlers, selectors, mappers and decoders that raise."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest

from eventstore.model.config import Config
from eventstore.model.errors import SerializationError, SubscriptionLostError
from eventstore.model.events import RecordedEvent
from eventstore.model.retry import Retry
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionState
from tests.actors.seated import Seated, append, numbers, start_keeper
from tests.support.rooms import LONG, Ear, Rooms, encoded, one, rooms_over, soon
from tests.support.waiting import wait_until

AT_ONCE = Retry(first=0.01, longest=0.01)


@dataclass
class Typed:
    sku: str


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    config = Config("memory:", poll_interval=0.1, types={"Typed": Typed})
    with rooms_over(config) as rooms:
        start_keeper(rooms)
        yield rooms


class Handler:
    """Fails as often as it is told to at one position, and remembers all that it was given."""

    def __init__(self, failing: int = 0, times: int = 0) -> None:
        self.calls: list[list[int]] = []
        self._failing = failing
        self._left = times

    def __call__(self, events: Events) -> None:
        self.calls.append(numbers(events))
        if self._failing in self.calls[-1] and self._left:
            self._left -= 1
            raise ValueError("no stock")


def test_nothing_is_handled_behind_a_batch_that_failed(rooms: Rooms) -> None:
    """G14: though the batches behind it were sent to the function already."""
    handler = Handler(failing=3, times=3)
    append(rooms, 6)

    seated = Seated(rooms, handler, max_batch_size=1, on_error=AT_ONCE)

    wait_until(lambda: seated.handle.checkpoint == 6)
    assert handler.calls == [[1], [2], [3], [3], [3], [3], [4], [5], [6]]
    assert seated.handle.attempts == 0
    assert seated.handle.last_error is None


def test_failures_are_counted_in_a_row_at_one_place(rooms: Rooms) -> None:
    """G30: a batch that succeeds ends the row."""
    failures = {1: 2, 2: 2}

    def handler(events: Events) -> None:
        if failures.get(events.last_position):
            failures[events.last_position] -= 1
            raise ValueError(events.last_position)

    append(rooms, 3)
    three_attempts = Retry(first=0.01, longest=0.01, attempts=3)
    seated = Seated(rooms, handler, max_batch_size=1, on_error=three_attempts)

    wait_until(lambda: seated.handle.checkpoint == 3)
    assert failures == {1: 0, 2: 0}


def test_after_its_attempts_it_stops_and_says_why(rooms: Rooms) -> None:
    """G30, G32."""
    handler = Handler(failing=2, times=100)
    append(rooms, 3)
    seated = Seated(rooms, handler, max_batch_size=1, on_error=Retry(0.01, 1, 0.01, attempts=3))

    with pytest.raises(SubscriptionLostError, match="stopped after 3 attempts") as stopped:
        seated.handle.join(LONG)

    assert handler.calls == [[1], [2], [2], [2]]
    assert isinstance(stopped.value.__cause__, ValueError)
    assert seated.handle.state is SubscriptionState.STOPPED
    assert seated.handle.attempts == 3
    info = rooms.storage.subscription_info("$all", "shipping", soon())
    assert (info.owner, info.checkpoint, info.attempts) == (None, 1, 3)
    assert info.last_error is not None
    assert info.last_error.startswith("ValueError('no stock') (batch of 1 event from position 2,")


def test_the_log_shows_a_traceback_when_the_error_is_new(
    rooms: Rooms, caplog: pytest.LogCaptureFixture
) -> None:
    """F24, G30: not at every attempt."""
    errors = [ValueError("no stock")] * 3 + [KeyError("no price")]

    def handler(events: Events) -> None:
        if errors:
            raise errors.pop(0)

    append(rooms, 1)
    with caplog.at_level(logging.WARNING, "eventstore"):
        seated = Seated(rooms, handler, on_error=AT_ONCE)
        wait_until(lambda: seated.handle.checkpoint == 1)

    failed = [r.getMessage() for r in caplog.records if "delivery failed" in r.getMessage()]
    assert [("Traceback" in line, "in handler" in line) for line in failed] == [
        (True, True),
        (False, False),
        (False, False),
        (True, True),
    ]
    assert "ValueError: no stock" in failed[0]
    assert "KeyError: 'no price'" in failed[3]


def test_events_before_one_that_cannot_be_mapped_are_delivered(rooms: Rooms) -> None:
    """G30: and their acknowledgement does not hide that the mapper fails."""
    tried: queue.SimpleQueue[int] = queue.SimpleQueue()

    def mapper(event: RecordedEvent) -> RecordedEvent:
        tried.put(event.position)
        if event.position == 3:
            raise LookupError("no price")
        return event

    subscriber = Ear()
    append(rooms, 4)
    seated = Seated(
        rooms,
        subscriber.ref,
        mapper=mapper,
        on_error=Retry(first=0.05, factor=1, longest=0.05, attempts=4),
    )
    batch = subscriber.next(Events)
    assert numbers(batch) == [1, 2]
    seated.handle.ack(batch)
    wait_until(lambda: seated.handle.checkpoint == 2)
    assert isinstance(seated.handle.last_error, LookupError)

    with pytest.raises(SubscriptionLostError, match="stopped after 4 attempts"):
        seated.handle.join(LONG)
    calls = [tried.get() for _ in range(tried.qsize())]
    assert calls == [1, 2, 3, 3, 3, 3]


def test_a_mapper_that_recovers_skips_nothing(rooms: Rooms) -> None:
    """G13, G15, G30."""
    failures = iter([ValueError(), SystemExit(), KeyboardInterrupt()])

    def mapper(event: RecordedEvent) -> int:
        if event.position == 2 and (error := next(failures, None)):
            raise error
        return event.position * 10

    handled: list[Any] = []
    append(rooms, 3)
    seated = Seated(rooms, handled.extend, mapper=mapper, on_error=AT_ONCE)

    wait_until(lambda: seated.handle.checkpoint == 3)
    assert handled == [10, 20, 30]
    assert seated.handle.attempts == 0


def test_a_selector_that_raises_shows_that_it_is_tried_again(rooms: Rooms) -> None:
    """G30, G32."""
    repaired = threading.Event()

    def selector(event: RecordedEvent) -> bool:
        if not repaired.is_set():
            raise RuntimeError("no rules")
        return True

    handler = Handler()
    append(rooms, 1)
    seated = Seated(rooms, handler, selector=selector, on_error=AT_ONCE)
    wait_until(lambda: seated.handle.attempts > 1)
    assert seated.handle.state is SubscriptionState.RETRYING
    assert repr(seated.handle.last_error) == "RuntimeError('no rules')"
    repaired.set()

    wait_until(lambda: seated.handle.checkpoint == 1)
    assert handler.calls == [[1]]


def test_stored_bytes_of_another_type_are_tried_again(rooms: Rooms) -> None:
    """G30: the decoder fails as a handler does; another subscription is not concerned."""
    session = rooms.storage.append_session()
    session.append([one("order-1", -1, encoded(b'{"sku": 7}', event_type="Typed"))], soon())
    session.close()

    seated = Seated(rooms, Handler(), on_error=AT_ONCE)

    wait_until(lambda: seated.handle.attempts > 1)
    assert isinstance(seated.handle.last_error, SerializationError)
    assert seated.handle.checkpoint == 0


async def coroutine_function() -> None: ...


def generator_function() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("returned", "shown"),
    [
        (lambda: False, "False"),
        (lambda: 0, "0"),
        (list, r"\[\]"),
        (Future, "Future"),
        (coroutine_function, "coroutine"),
        (generator_function, "generator"),
    ],
)
def test_what_a_handler_returns_is_no_acknowledgement(
    rooms: Rooms, returned: Callable[[], Any], shown: str
) -> None:
    """G19: the error names it; coroutines are closed, so no warning follows."""
    append(rooms, 1)
    seated = Seated(rooms, lambda events: returned(), on_error=Retry(attempts=1))

    with pytest.raises(SubscriptionLostError) as stopped:
        seated.handle.join(LONG)

    assert isinstance(stopped.value.__cause__, TypeError)
    assert stopped.match(f"the handler returned .*{shown}")
    assert seated.handle.checkpoint == 0


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_the_process_ends_only_the_attempt(
    rooms: Rooms, error: BaseException
) -> None:
    """G30: in pykka it would stop every actor of the process."""
    errors = [error]

    def handler(events: Events) -> None:
        if errors:
            raise errors.pop()

    append(rooms, 1)
    seated = Seated(rooms, handler, on_error=AT_ONCE)

    wait_until(lambda: seated.handle.checkpoint == 1)
    assert seated.ref.is_alive()
