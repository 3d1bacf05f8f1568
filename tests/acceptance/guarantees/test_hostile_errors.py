"""Exceptions whose text raises, blocks or is too long harm their own subscription alone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pykka
import pytest

from eventstore import (
    Config,
    EventData,
    Events,
    EventStore,
    Health,
    JsonSerializer,
    Retry,
    Subscription,
    SubscriptionHealth,
    SubscriptionLostError,
    SubscriptionState,
)
from tests.acceptance.guarantees.conftest import Settings
from tests.support.hostile import HostileError, hostile_texts
from tests.support.recorder import Seen
from tests.support.waiting import wait_until

QUICKLY = Retry(first=0.01, longest=0.02)
SHORT = 3_000
"""Characters that the text of an error may have anywhere."""
TRACEBACK = 12_000
"""Characters of the traceback that follows in what is stored and in health."""


class Thrower:
    """User code that raises the same exception for every event that it should not see."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self.calls = 0

    def __call__(self, *_: Any) -> Any:
        self.calls += 1
        raise self._error


class Picky(JsonSerializer):
    """Fails for the payloads of the stream of the broken subscription."""

    def __init__(self, throw: Thrower) -> None:
        super().__init__()
        self._throw = throw

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        value = super().deserialize(payload, payload_type)
        return self._throw(value) if value == "broken" else value


class Actor(pykka.ThreadingActor):
    """A subscriber that fails with the first batch."""

    def __init__(self, throw: Thrower) -> None:
        super().__init__()
        self._throw = throw

    def on_receive(self, message: Any) -> None:
        if isinstance(message, Events):
            self._throw(message)


PLACES = ["handler", "selector", "mapper", "serializer", "actor"]


def subscribe(store: EventStore, place: str, throw: Thrower) -> Subscription:
    """Subscribe with user code that fails at *place*."""
    name, handle = "broken", Seen().handle
    match place:
        case "handler":
            return store.subscribe_to_stream("b", name, throw, on_error=QUICKLY)
        case "selector":
            return store.subscribe_to_stream("b", name, handle, selector=throw, on_error=QUICKLY)
        case "mapper":
            return store.subscribe_to_stream("b", name, handle, mapper=throw, on_error=QUICKLY)
        case "serializer":
            return store.subscribe_to_stream("b", name, handle, on_error=QUICKLY)
    return store.subscribe_to_stream("b", name, Actor.start(throw), on_error=QUICKLY)


@contextmanager
def asked_for_health(store: EventStore) -> Iterator[list[Health]]:
    """Ask a store how it is, ten times a second."""
    answers: list[Health] = []
    enough = threading.Event()

    def ask() -> None:
        while not enough.wait(0.1):
            answers.append(store.health())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        enough.set()
        thread.join()


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set at the end of the test: what blocks until then may go on."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def _quiet_pykka() -> Iterator[None]:
    """Let pykka not log what an actor of the test raises: it formats it, and a lock is held."""
    logger = logging.getLogger("pykka")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


def of(health: Health, name: str) -> SubscriptionHealth:
    (found,) = [s for s in health.subscriptions if s.subscription_name == name]
    return found


@pytest.mark.usefixtures("_quiet_pykka")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("wrong", hostile_texts(threading.Event()))
def test_an_exception_with_a_hostile_text_harms_its_own_subscription_alone(
    settings: Settings, observer: EventStore, released: threading.Event, place: str, wrong: str
) -> None:
    """F18, F19, G30, G32: while everybody looks, and a healthy subscription beside it goes on."""
    throw, seen = Thrower(HostileError(hostile_texts(released)[wrong])), Seen()
    serializer = Picky(throw) if place == "serializer" else JsonSerializer()
    config = Config(**settings, serializer=serializer)
    with EventStore.connect(config) as store, asked_for_health(store) as answers:
        broken = subscribe(store, place, throw)
        store.subscribe_to_stream("fine", "fine", seen.handle)
        store.append_to_stream("b", 0, [EventData("X", "broken")])
        store.append_to_stream("fine", 0, [EventData("X", "1")])
        if wrong == "sleeps":
            wait_until(lambda: throw.calls)
        elif place == "actor":
            wait_until(lambda: broken.state is SubscriptionState.STOPPED)
        else:
            wait_until(lambda: broken.attempts >= 3)
            _check_the_texts(store, observer, broken)
        store.append_to_stream("fine", 1, [EventData("X", "2"), EventData("X", "3")])
        assert seen.wait(3) == [1, 2, 3]
        told = len(answers)
        wait_until(lambda: len(answers) > told + 2)
        assert all(answer.running for answer in answers)
        assert answers[-1].restarts == 0
        assert of(answers[-1], "fine").state is SubscriptionState.LIVE
        released.set()


def _check_the_texts(store: EventStore, observer: EventStore, broken: Subscription) -> None:
    assert isinstance(broken.last_error, Exception)
    told = of(store.health(), "broken").last_error
    assert told is not None
    _check_length(told)
    wait_until(lambda: observer.subscription_info("b", "broken").last_error is not None)
    stored = observer.subscription_info("b", "broken").last_error
    assert stored is not None
    _check_length(stored)


def _check_length(last_error: str) -> None:
    assert len(last_error.partition("\n")[0]) < SHORT
    assert len(last_error) < SHORT + TRACEBACK


class Untouchable:
    """User code, or a value of it, that nobody may look at."""

    def __init__(self, returned: Any = None) -> None:
        self._returned = returned

    def __call__(self, *_: Any) -> Any:
        return self._returned

    def _refuse(self, *_: Any) -> Any:
        raise RuntimeError("not to be touched")

    __repr__ = __str__ = __format__ = __hash__ = _refuse
    __eq__ = __bool__ = __len__ = __lt__ = __iter__ = _refuse


def test_user_code_and_its_values_are_called_and_handed_over_and_nothing_else(
    store: EventStore,
) -> None:
    """F18, G30."""
    value, handled = Untouchable(), list[Any]()

    def handle(events: Events) -> None:
        handled.append(events.events[0])

    subscription = store.subscribe_to_all_streams(
        "sub", handle, selector=Untouchable(True), mapper=Untouchable(value)
    )
    store.subscribe_to_all_streams("silent", Untouchable())
    result = store.append_to_stream("s", 0, [EventData("X", 1)])
    subscription.wait_for(result, timeout=30)
    wait_until(lambda: store.subscription_info("$all", "silent").checkpoint == 1)
    assert handled[0] is value
    assert store.health().restarts == 0


@pytest.mark.parametrize("wrong", ["raises", "exits", "is long", "is no text"])
def test_whoever_waits_or_joins_gets_an_error_with_a_short_text(
    store: EventStore, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    """F18, F19, G30: and with the exception itself as its cause."""
    error = ValueError(HostileError(hostile_texts(threading.Event())[wrong]))
    retry = Retry(first=0.2, longest=0.2, attempts=3)
    subscription = store.subscribe_to_all_streams("sub", Thrower(error), on_error=retry)
    result = store.append_to_stream("s", 0, [EventData("X", 1)])
    wait_until(lambda: subscription.attempts)

    with pytest.raises(TimeoutError) as late:
        subscription.wait_for(result, timeout=0.05)
    with pytest.raises(SubscriptionLostError, match="stopped after 3 attempts") as lost:
        subscription.join(timeout=30)

    for raised in (late, lost):
        assert raised.value.__cause__ is error
        assert len(str(raised.value)) < SHORT
    assert store.health().running
    assert "delivery failed" in caplog.text
    assert max(len(record.getMessage()) for record in caplog.records) < 20_000
