"""Serializer, selector and mapper run in a thread of their own, never in the subscription's."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pykka
import pytest

from eventstore.model.config import Config
from eventstore.model.errors import DeliveryTimeoutError
from eventstore.model.events import RecordedEvent
from eventstore.model.retry import Retry
from eventstore.model.serializer import JsonSerializer
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionState
from eventstore_actors.delivering.preparing import Preparer
from eventstore_actors.kernel.messages import Forget, HeadMoved
from tests.actors.seated import Seated, append, let_pass, numbers, start_keeper
from tests.support.rooms import LONG, Rooms, encoded, one, rooms_over, soon, stop
from tests.support.waiting import wait_until

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NONSENSE = "a message that none of the actors can handle"
AT_ONCE = Retry(first=0.01, longest=0.01)
CONFIG = Config("memory:", poll_interval=0.1, lease=1.0)


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    with rooms_over(CONFIG) as rooms:
        start_keeper(rooms)
        yield rooms


class Step:
    """User code that stops at one position until it is released, once or every time."""

    def __init__(self, stops_at: int, returned: Callable[[Any], Any] = lambda value: value) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()
        self.calls: list[int] = []
        self.threads: set[str] = set()
        self.running = 0
        self.most_running = 0
        self._stops_at = stops_at
        self._returned = returned

    def __call__(self, event: RecordedEvent) -> Any:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.calls.append(event.position)
        self.threads.add(threading.current_thread().name)
        if event.position == self._stops_at:
            self.entered.set()
            assert self.released.wait(LONG)
        self.running -= 1
        return self._returned(event)


def selector(stops_at: int = 0) -> Step:
    return Step(stops_at, lambda event: True)


@pytest.fixture
def hung() -> Iterator[Step]:
    """A selector that does not return from the second event before the end of the test."""
    step = selector(2)
    yield step
    step.released.set()


EVENT_AT = {
    position: RecordedEvent(UUID(int=0), "X", "s", 1, 1, position, None, None, None, None, BEGIN)
    for position in range(10)
}


def preparers() -> list[Any]:
    return list(pykka.ActorRegistry.get_by_class(Preparer))


def has_read_all(seated: Seated) -> bool:
    """Return whether the subscription's actor has looked at every message."""
    waiting: Any = seated.ref.actor_inbox
    return bool(waiting.empty())


# ── a selector that never returns ────────────────────────────────────────────────────────────


def test_a_selector_that_hangs_is_visible_at_once_and_blocks_nothing(
    rooms: Rooms, hung: Step
) -> None:
    """F20, G32, G22: its actor answers, its inbox stays empty, its lease is renewed."""
    seated = Seated(rooms, lambda events: None, selector=hung)
    wait_until(lambda: seated.handle.state is SubscriptionState.LIVE)
    seated.append(3)
    assert hung.entered.wait(LONG)

    for _ in range(200):
        seated.ref.tell(HeadMoved(3))
    seated.settle()

    assert has_read_all(seated)
    assert seated.handle.state is SubscriptionState.CATCHING_UP
    first = seated.handle.health().seconds_without_progress
    wait_until(lambda: seated.handle.health().seconds_without_progress > first)
    wait_until(lambda: rooms.storage.subscription_info("$all", "shipping", soon()).owner)
    let_pass(1.5 * CONFIG.lease)
    assert rooms.storage.subscription_info("$all", "shipping", soon()).owner is not None
    assert len(preparers()) == 1

    hung.released.set()
    wait_until(lambda: seated.handle.checkpoint == 3)
    wait_until(lambda: seated.handle.state is SubscriptionState.LIVE)
    assert hung.calls == [1, 2, 3]


def test_events_before_the_one_that_hangs_are_delivered(rooms: Rooms, hung: Step) -> None:
    """F20, G13."""
    append(rooms, 3)
    seated = Seated(rooms, lambda events: None, selector=hung)

    wait_until(lambda: seated.handle.checkpoint == 1)
    assert hung.entered.is_set()


class Hanging(JsonSerializer):
    """A serializer that reads its payloads as *step* says, the first as position 1."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step
        self._read = 0

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        self._read += 1
        self._step(EVENT_AT[self._read])
        return super().deserialize(payload, payload_type)


def test_what_was_left_out_before_the_one_that_hangs_counts_as_acknowledged(rooms: Rooms) -> None:
    """F20, G15: and no more than that."""
    hung, handled = Step(5, lambda event: event.position == 3), list[int]()
    append(rooms, 6)
    seated = Seated(rooms, lambda events: handled.extend(numbers(events)), selector=hung)

    wait_until(lambda: seated.handle.checkpoint == 4)
    seated.settle()
    assert (seated.handle.checkpoint, handled) == (4, [3])
    hung.released.set()
    wait_until(lambda: seated.handle.checkpoint == 6)
    assert handled == [3]


@pytest.mark.parametrize("step", ["selector", "mapper", "serializer"])
def test_what_never_returns_is_overdue_as_a_handler_is(
    step: str, hung: Step, caplog: pytest.LogCaptureFixture
) -> None:
    """F20, G21, G26: stopped and released; the reason and the log name what did not return."""
    config, options = CONFIG, dict[str, Any]({step: hung})
    if step == "serializer":
        config, options = replace(CONFIG, serializer=Hanging(hung)), {}
    with rooms_over(config) as rooms, caplog.at_level(logging.WARNING, "eventstore"):
        start_keeper(rooms)
        append(rooms, 3)
        seated = Seated(rooms, lambda events: None, ack_timeout=0.3, **options)

        with pytest.raises(DeliveryTimeoutError, match=rf"its {step} has not .*0\.3 s.*position 2"):
            seated.handle.join(LONG)

        wait_until(lambda: not seated.ref.is_alive())
        wait_until(lambda: f"{step} still running" in caplog.text)
        info = rooms.storage.subscription_info("$all", "shipping", soon())
        assert info.owner is None
        assert info.checkpoint < 2
        hung.released.set()


def test_a_slow_selector_that_returns_is_not_overdue(rooms: Rooms) -> None:
    """F20: the time of one event counts, not that of a page."""

    def slow(event: RecordedEvent) -> bool:
        let_pass(0.25)
        return True

    append(rooms, 8)
    seated = Seated(rooms, lambda events: None, selector=slow, ack_timeout=1.7)

    wait_until(lambda: seated.handle.checkpoint == 8)
    assert seated.ref.is_alive()


def test_pause_resume_and_stop_do_not_wait_for_a_selector(
    rooms: Rooms, hung: Step, caplog: pytest.LogCaptureFixture
) -> None:
    """F20, G20, G26: the log says that it did not end."""
    append(rooms, 3)
    seated = Seated(rooms, lambda events: None, selector=hung)
    assert hung.entered.wait(LONG)

    seated.handle.pause()
    assert str(seated.handle.state) == "paused"
    seated.handle.resume()
    assert str(seated.handle.state) == "catching_up"
    with caplog.at_level(logging.WARNING, "eventstore"):
        stop(seated.ref, 0.1)

    assert "selector still running" in caplog.text
    assert "handler still running" not in caplog.text
    assert rooms.storage.subscription_info("$all", "shipping", soon()).owner is None


# ── pages that are not wanted any more ───────────────────────────────────────────────────────


def test_a_page_of_an_earlier_run_is_dropped(rooms: Rooms, hung: Step) -> None:
    """F20, G13, G14, G15: what the failed batch held comes first; one call at a time."""
    handled: list[int] = []
    failing = threading.Event()

    def handler(events: Events) -> None:
        handled.extend(numbers(events))
        if not failing.is_set():
            assert hung.entered.wait(LONG)
            failing.set()
            raise ValueError("the first batch, while the second page is with the selector")

    append(rooms, 1)
    seated = Seated(rooms, handler, selector=hung, on_error=AT_ONCE)
    wait_until(lambda: handled)
    seated.append(3)
    wait_until(lambda: seated.handle.attempts == 1)
    for _ in range(20):
        seated.ref.tell(Forget())
    seated.settle()
    hung.released.set()

    wait_until(lambda: seated.handle.checkpoint == 4)
    assert handled == [1, 1, 2, 3, 4]
    assert hung.most_running == 1


def test_after_a_lost_lease_it_starts_again_after_the_stored_checkpoint(
    rooms: Rooms, hung: Step
) -> None:
    """F20, G16: the page that was with the selector is not of the new run."""
    handled: list[int] = []
    append(rooms, 3)
    seated = Seated(rooms, lambda events: handled.extend(numbers(events)), selector=hung)
    assert hung.entered.wait(LONG)

    run = seated.seat.run
    rooms.storage.reset_subscription("$all", "shipping", 0, soon())
    wait_until(lambda: seated.seat.run > run)
    seated.settle()
    hung.released.set()

    wait_until(lambda: seated.handle.checkpoint == 3)
    assert sorted(set(handled)) == [1, 2, 3]
    assert hung.most_running == 1


def test_after_a_crash_the_selector_is_never_run_twice_at_once(rooms: Rooms, hung: Step) -> None:
    """F20, G24: the new actor's page waits for the call that did not end."""
    append(rooms, 3)
    seated = Seated(rooms, lambda events: None, selector=hung)
    assert hung.entered.wait(LONG)

    seated.ref.tell(NONSENSE)
    wait_until(lambda: not seated.ref.is_alive())
    seated.sit()
    wait_until(lambda: len(preparers()) == 2)
    seated.settle()
    assert hung.calls.count(2) == 1
    hung.released.set()

    wait_until(lambda: seated.handle.checkpoint == 3)
    assert hung.most_running == 1


@pytest.mark.parametrize("is_at_work", [False, True])
def test_a_dead_preparer_is_replaced(rooms: Rooms, hung: Step, *, is_at_work: bool) -> None:
    """F20, G24: the subscription crashes with it, and is restarted."""
    append(rooms, 1)
    seated = Seated(rooms, lambda events: None, selector=hung)
    wait_until(lambda: seated.handle.checkpoint == 1)
    (preparer,) = preparers()
    if is_at_work:
        seated.append(2)
        assert hung.entered.wait(LONG)
        # Dead without having said so, as after a crash of the interpreter's own.
        pykka.ActorRegistry.unregister(preparer)
        preparer.actor_stopped.set()
    else:
        stop(preparer)
        seated.append(2)

    wait_until(lambda: not seated.ref.is_alive())
    hung.released.set()
    seated.sit()

    wait_until(lambda: seated.handle.checkpoint == 3)


# ── threads ──────────────────────────────────────────────────────────────────────────────────


def test_all_pages_are_prepared_in_one_thread(rooms: Rooms) -> None:
    """F20, G22: not in the subscription's, and none is started per page."""
    step, mapped = selector(), Step(0)
    append(rooms, 50)
    seated = Seated(
        rooms, lambda events: None, selector=step, mapper=mapped, buffer_size=5, max_batch_size=5
    )

    wait_until(lambda: seated.handle.checkpoint == 50)
    assert step.threads == mapped.threads == {"eventstore-subscription shipping preparer"}
    assert step.calls == mapped.calls == list(range(1, 51))


def test_without_user_code_there_is_no_further_thread(rooms: Rooms) -> None:
    """F20: plain payloads are decoded where they are read."""
    append(rooms, 5)
    seated = Seated(rooms, lambda events: None)

    wait_until(lambda: seated.handle.checkpoint == 5)
    assert preparers() == []


class Strange(JsonSerializer):
    """A serializer that may do anything."""


@dataclass
class Typed:
    sku: str

    def __post_init__(self) -> None:
        made_in.add(threading.current_thread().name)


made_in: set[str] = set()


def test_a_registered_class_is_made_in_the_same_thread() -> None:
    """F20: its `__post_init__` is user code."""
    made_in.clear()
    with rooms_over(replace(CONFIG, types=[Typed])) as rooms:
        start_keeper(rooms)
        session = rooms.storage.append_session()
        session.append([one("order-1", -1, encoded(b'{"sku": "A"}', event_type="Typed"))], soon())
        session.close()
        seated = Seated(rooms, lambda events: None)
        wait_until(lambda: seated.handle.checkpoint == 1)

    assert made_in == {"eventstore-subscription shipping preparer"}


def test_a_selector_may_pause_and_close_its_own_subscription(rooms: Rooms) -> None:
    """F20, G20: it does not wait for itself."""
    handles: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def pausing(event: RecordedEvent) -> bool:
        if event.position == 2:
            handles.get(timeout=LONG).pause()
        return True

    append(rooms, 3)
    seated = Seated(rooms, lambda events: None, selector=pausing)
    handles.put(seated.handle)

    wait_until(lambda: seated.handle.state is SubscriptionState.PAUSED)
    seated.handle.resume()
    wait_until(lambda: seated.handle.checkpoint == 3)


# ── what they return ─────────────────────────────────────────────────────────────────────────


async def coroutine_function(event: RecordedEvent) -> bool:
    return True


def generator_function(event: RecordedEvent) -> Iterator[bool]:
    yield True


def hidden(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a plain function, of which nobody can tell what it will return."""

    def call(event: RecordedEvent) -> Any:
        return function(event)

    return call


class NoBool:
    """As numpy's own: equal to True, and not it."""

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return "np.True_"


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (lambda event: None, "None"),
        (lambda event: 1, "1"),
        (lambda event: "yes", "'yes'"),
        (lambda event: NoBool(), "np.True_"),
        (hidden(coroutine_function), "<coroutine"),
        (hidden(generator_function), "<generator"),
    ],
)
def test_only_a_bool_decides(rooms: Rooms, returned: Callable[[Any], Any], text: str) -> None:
    """F21, G30, G15: whatever else a selector returns is its failure; nothing is skipped."""
    append(rooms, 1)
    seated = Seated(rooms, lambda events: None, selector=returned, on_error=AT_ONCE)

    wait_until(lambda: seated.handle.attempts > 1)
    assert isinstance(seated.handle.last_error, TypeError)
    assert f"the selector returned {text}" in str(seated.handle.last_error)
    assert "must return True or False" in str(seated.handle.last_error)
    assert seated.handle.checkpoint == 0


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (hidden(coroutine_function), "<coroutine"),
        (hidden(generator_function), "<generator"),
        (lambda event: (number async for number in AsyncNumbers()), "<async_generator"),
        (lambda event: Awaitable(), "<"),
    ],
)
def test_what_would_never_run_is_not_delivered(
    rooms: Rooms, returned: Callable[[Any], Any], text: str
) -> None:
    """F21, G30: a mapper whose work nobody does has failed; no warning follows."""
    append(rooms, 1)
    seated = Seated(rooms, lambda events: None, mapper=returned, on_error=AT_ONCE)

    wait_until(lambda: seated.handle.attempts > 1)
    assert f"the mapper returned {text}" in str(seated.handle.last_error)
    assert seated.handle.checkpoint == 0


class Awaitable:
    def __await__(self) -> Iterator[None]:
        yield


class AsyncNumbers:
    def __aiter__(self) -> AsyncNumbers:
        return self

    async def __anext__(self) -> int:
        raise StopAsyncIteration


@pytest.mark.parametrize("value", [None, False, 0, [], "", {"a": 1}])
def test_a_mapper_may_return_any_value(rooms: Rooms, value: object) -> None:
    handled: list[Any] = []
    append(rooms, 1)
    seated = Seated(rooms, handled.extend, mapper=lambda event: value)

    wait_until(lambda: seated.handle.checkpoint == 1)
    assert handled == [value]
