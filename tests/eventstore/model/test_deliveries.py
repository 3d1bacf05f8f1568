"""The receipt of a delivered event is in the object, and no part of its value."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from eventstore.model.deliveries import (
    DeliveryRun,
    Receipt,
    give_receipts,
    receipt_of,
    with_receipt,
)
from eventstore.model.events import RecordedEvent


def event(**fields: object) -> RecordedEvent:
    values: dict[str, object] = {
        "event_id": UUID(int=1),
        "event_type": "Happened",
        "stream_id": "order-1",
        "stream_version": 3,
        "global_position": 103,
        "position": 3,
        "data": None,
        "metadata": None,
        "causation_id": None,
        "correlation_id": None,
        "created_at": datetime(2026, 1, 2, tzinfo=UTC),
    }
    return RecordedEvent(**{**values, **fields})  # type: ignore[arg-type]


def run(number: int = 1, *, store: object = "store", name: str = "shipping") -> DeliveryRun:
    return DeliveryRun(store, "order-1", name, number)


def test_new_events_get_their_receipts_without_a_copy() -> None:
    """F8: the hot path."""
    new, present = event(), run()
    assert receipt_of(new) is None

    give_receipts([new], present)

    assert receipt_of(new) == Receipt(present, 3)


def test_the_events_of_a_batch_share_what_none_of_them_can_change() -> None:
    """F8: a mapper that returns one of them again gets a copy; its siblings stay as they are."""
    first, second, now, later = event(), event(position=4), run(1), run(2)
    give_receipts([first, second], now)

    again = with_receipt(first, later, 9)

    assert again is not first
    assert receipt_of(again) == Receipt(later, 9)
    assert [receipt_of(each) for each in (first, second)] == [Receipt(now, 3), Receipt(now, 4)]


@pytest.mark.parametrize("position", [3, 7])
def test_what_a_mapper_made_gets_the_position_of_the_event_it_stands_for(position: int) -> None:
    """F8."""
    new, present = event(), run()

    assert with_receipt(new, present, position) is new
    assert receipt_of(new) == Receipt(present, position)
    assert new.position == 3


@pytest.mark.parametrize("position", [3, 7])
def test_sent_again_in_its_run_it_keeps_its_receipt(position: int) -> None:
    """F8: after a pause took it back."""
    new, present = event(), run()
    with_receipt(new, present, position)

    assert with_receipt(new, present, position) is new
    assert receipt_of(new) == Receipt(present, position)


@pytest.mark.parametrize("again", [(run(2), 3), (run(name="billing"), 3), (None, 4)])
def test_delivered_a_second_time_it_is_a_copy(again: tuple[DeliveryRun | None, int]) -> None:
    """F8, F9: the first receipt stays what it was."""
    new, first = event(), run()
    with_receipt(new, first, 3)
    later = again[0] or first

    copy = with_receipt(new, later, again[1])

    assert copy is not new
    assert copy == new
    assert receipt_of(new) == Receipt(first, 3)
    assert receipt_of(copy) == Receipt(later, again[1])


def test_an_event_cannot_be_changed_all_the_same() -> None:
    with pytest.raises(AttributeError):
        event().note = "x"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (run(7), True),
        (run(store="elsewhere"), False),
        (run(name="billing"), False),
        (DeliveryRun("store", "order-2", "shipping", 1), False),
    ],
)
def test_runs_of_one_subscription_know_each_other(other: DeliveryRun, same: bool) -> None:
    """F9: that decides which error an acknowledgement gets."""
    assert run().is_of_same_subscription(other) is same
