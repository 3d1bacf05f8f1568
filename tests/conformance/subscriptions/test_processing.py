"""What a handler appends and the checkpoint of its batch are stored together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eventstore import (
    EventData,
    Events,
    EventStore,
    ExpectedVersion,
    Retry,
    SubscriptionLostError,
    WrongExpectedVersionError,
)
from tests.conformance.conftest import numbered
from tests.conformance.subscriptions.recording import numbers
from tests.support.waiting import wait_until

ANY = ExpectedVersion.ANY
NAME = "manager"


def answer(events: Events) -> list[EventData]:
    return [EventData("Answered", {"event": number}) for number in numbers(events)]


def answered(store: EventStore, stream_id: str = "answers") -> list[int]:
    found = store.read_stream_forward(stream_id, missing_ok=True)
    return [event.data["event"] for event in found]


def stored_checkpoint(store: EventStore) -> int:
    return store.subscription_info("orders", NAME).checkpoint


def test_events_and_checkpoint_are_stored_together(store: EventStore) -> None:
    """G39: the checkpoint is that of the row, before the handler has returned."""
    stored: list[tuple[int, list[int]]] = []

    def manage(events: Events) -> None:
        store.append_to_stream("answers", ANY, answer(events), processed=events)
        stored.append((stored_checkpoint(store), answered(store)))

    store.append_to_stream("orders", ANY, numbered(1, 3))
    store.subscribe_to_stream("orders", NAME, manage)
    wait_until(lambda: stored == [(3, [1, 2, 3])])


def test_who_raises_afterwards_is_not_called_again(store: EventStore) -> None:
    """G39: what was stored with its checkpoint was handled."""

    def manage(events: Events) -> None:
        store.append_to_stream("answers", ANY, answer(events), processed=events)
        raise KeyError("too late")

    store.append_to_stream("orders", ANY, numbered(1, 3))
    subscription = store.subscribe_to_stream("orders", NAME, manage)
    wait_until(lambda: subscription.checkpoint == 3)
    assert answered(store) == [1, 2, 3]
    assert stored_checkpoint(store) == 3


def test_a_refused_append_moves_nothing(store: EventStore) -> None:
    """G39, G1, G2: the handler decides again."""
    stored: list[int] = []

    def manage(events: Events) -> None:
        with pytest.raises(WrongExpectedVersionError):
            store.append_to_stream("answers", 7, answer(events), processed=events)
        stored.append(stored_checkpoint(store))
        store.append_to_stream("answers", 0, answer(events), processed=events)

    store.append_to_stream("orders", ANY, numbered(1, 2))
    subscription = store.subscribe_to_stream("orders", NAME, manage)
    wait_until(lambda: subscription.checkpoint == 2)
    assert (stored, answered(store)) == ([0], [1, 2])


def test_the_same_batch_is_processed_once(store: EventStore) -> None:
    """G39: a second decision about it is refused, and nothing of it is written."""
    refused: list[str] = []

    def manage(events: Events) -> None:
        store.append_to_stream("answers", ANY, answer(events), processed=events)
        with pytest.raises(SubscriptionLostError) as caught:
            store.append_to_stream("answers", ANY, answer(events), processed=events)
        refused.append(str(caught.value))

    store.append_to_stream("orders", ANY, numbered(1, 2))
    subscription = store.subscribe_to_stream("orders", NAME, manage)
    wait_until(lambda: subscription.checkpoint == 2 and refused)
    assert "nothing was written" in refused[0]
    assert answered(store) == [1, 2]


def test_the_same_events_again_return_the_first_result(store: EventStore) -> None:
    """G6, G39: as after an answer that was lost."""
    repeated: list[bool] = []

    def manage(events: Events) -> None:
        answers = answer(events)
        for _ in range(2):
            result = store.append_to_stream("answers", ANY, answers)
            repeated.append(result.repeated)
        result = store.append_to_stream("answers", ANY, answers, processed=events)
        repeated.append(result.repeated)

    store.append_to_stream("orders", ANY, numbered(1, 2))
    subscription = store.subscribe_to_stream("orders", NAME, manage)
    wait_until(lambda: subscription.checkpoint == 2 and len(repeated) == 3)
    assert repeated == [False, True, True]
    assert stored_checkpoint(store) == 2


def test_the_same_events_of_a_batch_that_was_processed_return_the_first_result(
    store: EventStore,
) -> None:
    """G6, G39: with their ids; another decision about it is refused, also by its version."""
    repeated: list[bool] = []

    def manage(events: Events) -> None:
        answers = answer(events)
        for _ in range(2):
            result = store.append_to_stream("answers", 0, answers, processed=events)
            repeated.append(result.repeated)
        with pytest.raises(WrongExpectedVersionError):
            store.append_to_stream("answers", 7, answer(events), processed=events)
        with pytest.raises(SubscriptionLostError):
            store.append_to_stream("answers", ANY, answer(events), processed=events)
        repeated.append(True)

    store.append_to_stream("orders", ANY, numbered(1, 2))
    subscription = store.subscribe_to_stream("orders", NAME, manage)
    wait_until(lambda: subscription.checkpoint == 2 and len(repeated) == 3)
    assert repeated == [False, True, True]
    assert answered(store) == [1, 2]


def test_a_lost_fence_writes_nothing(store: EventStore) -> None:
    """G39, G16: the events come again, to the new owner."""
    caught: list[Exception] = []

    def manage(events: Events) -> None:
        if not caught:
            store.reset_subscription("orders", NAME, 0)
        try:
            store.append_to_stream("answers", ANY, answer(events), processed=events)
        except SubscriptionLostError as error:
            caught.append(error)
            raise

    store.append_to_stream("orders", ANY, numbered(1, 2))
    subscription = store.subscribe_to_stream("orders", NAME, manage)
    wait_until(lambda: subscription.checkpoint == 2)
    assert len(caught) == 1
    assert answered(store) == [1, 2]


def test_several_streams_or_none(store: EventStore) -> None:
    """G39, G9: without an append the checkpoint is stored alone."""
    stored: list[int] = []

    def manage(events: Events) -> None:
        if numbers(events) == [1]:
            appends = [("answers", ANY, answer(events)), ("others", ANY, answer(events))]
            results = store.append_to_streams(appends, processed=events)
            assert [result.last_version for result in results] == [1, 1]
        else:
            assert store.append_to_streams([], processed=events) == []
        stored.append(stored_checkpoint(store))

    store.append_to_stream("orders", ANY, numbered(1, 2))
    store.subscribe_to_stream("orders", NAME, manage, max_batch_size=1)
    wait_until(lambda: stored == [1, 2])
    assert (answered(store), answered(store, "others")) == ([1], [1])


def test_a_link_and_the_checkpoint_are_stored_together(store: EventStore) -> None:
    """G39, G35."""
    stored: list[int] = []

    def manage(events: Events) -> None:
        store.link_to_stream("linked", ANY, events, processed=events)
        stored.append(stored_checkpoint(store))

    store.append_to_stream("orders", ANY, numbered(1, 3))
    store.subscribe_to_stream("orders", NAME, manage)
    wait_until(lambda: stored == [3])
    assert answered(store, "linked") == [1, 2, 3]


def test_what_was_processed_is_delivered_at_once(store: EventStore) -> None:
    """G39, G23: its events are announced as others are."""
    seen: list[int] = []

    def manage(events: Events) -> None:
        store.append_to_stream("answers", ANY, answer(events), processed=events)

    store.subscribe_to_stream("answers", "seen", lambda events: seen.extend(numbers(events)))
    store.subscribe_to_stream("orders", NAME, manage)
    store.append_to_stream("orders", ANY, numbered(1, 2))
    wait_until(lambda: seen == [1, 2])


WRONG: list[tuple[Callable[[Events], dict[str, Any]], type[Exception], str]] = [
    (lambda events: {"processed": events[0]}, TypeError, "processed must be the Events"),
    (
        lambda events: {"processed": events, "connection": object()},
        ValueError,
        "processed cannot be used with connection",
    ),
    (
        lambda events: {"processed": Events(events.subscription, events.events, 1)},
        ValueError,
        "processed must have been delivered",
    ),
]


@pytest.mark.parametrize(("given", "error", "message"), WRONG)
def test_what_cannot_be_processed_is_refused(
    store: EventStore,
    given: Callable[[Events], dict[str, Any]],
    error: type[Exception],
    message: str,
) -> None:
    """G39, G19: before anything is sent."""
    refused: list[str] = []

    def manage(events: Events) -> None:
        with pytest.raises(error, match=message) as caught:
            store.append_to_stream("answers", ANY, answer(events), **given(events))
        refused.append(str(caught.value))

    store.append_to_stream("orders", ANY, numbered(1, 1))
    subscription = store.subscribe_to_stream("orders", NAME, manage)
    wait_until(lambda: subscription.checkpoint == 1)
    assert len(refused) == 1
    assert answered(store) == []


def test_what_follows_an_acknowledged_event_is_not_acknowledged_with_it(store: EventStore) -> None:
    """G39: a batch of which a part was stored before is refused; the rest comes again."""

    def manage(events: Events) -> None:
        if numbers(events) == [1, 2]:
            events.ack(events[0])
            wait_until(lambda: stored_checkpoint(store) == 1)
        store.append_to_stream("answers", ANY, answer(events), processed=events)

    store.append_to_stream("orders", ANY, numbered(1, 2))
    subscription = store.subscribe_to_stream(
        "orders", NAME, manage, on_error=Retry(first=0, longest=0)
    )
    wait_until(lambda: subscription.checkpoint == 2)
    assert answered(store) == [2]
