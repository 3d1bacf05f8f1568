"""The same event id stands for the same type and the same data, on both storages and runtimes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from eventstore import (
    AppendResult,
    Config,
    DuplicateEventError,
    EventData,
    EventStore,
    ExpectedVersion,
)
from tests.conformance.conftest import Connect

ANY = ExpectedVersion.ANY
PAID = EventData("Paid", {"amount": 100, "to": "Ada"}, {"trace": 1})


@pytest.mark.parametrize("expected", [ANY, 0, 1, ExpectedVersion.STREAM_EXISTS])
@pytest.mark.parametrize(
    "other",
    [
        {"data": {"amount": 200, "to": "Ada"}},
        {"data": {"amount": 100.0, "to": "Ada"}},
        {"data": {"amount": 100, "to": "Ada", "more": None}},
        {"data": {"amount": 100}},
        {"data": None},
        {"event_type": "Repaid"},
        {"event_type": "paid"},
    ],
    ids=str,
)
def test_another_type_or_other_data_under_a_stored_id_is_refused(
    store: EventStore, other: dict[str, Any], expected: int
) -> None:
    """F29, G6, G1: by name; what is stored stays."""
    before, after = EventData("Opened", 0), EventData("Closed", 0)
    store.append_to_stream("account-1", 0, [before, PAID, after])

    with pytest.raises(DuplicateEventError, match=f"{PAID.event_id} is already stored") as refused:
        store.append_to_stream("account-1", expected, [before, replace(PAID, **other), after])

    assert type(refused.value) is DuplicateEventError
    assert refused.value.event_id == PAID.event_id
    assert [e.data for e in store.read_stream_forward("account-1")] == [0, PAID.data, 0]


def test_true_is_not_one(store: EventStore) -> None:
    """F29, G6: though Python calls them equal."""
    flag = EventData("Set", {"on": 1, "many": [0, {"deep": 1}]})
    store.append_to_stream("s", 0, [flag])

    for other in ({"on": True, "many": [0, {"deep": 1}]}, {"on": 1, "many": [0, {"deep": True}]}):
        with pytest.raises(DuplicateEventError):
            store.append_to_stream("s", ANY, [replace(flag, data=other)])


def test_a_payload_that_was_changed_since_is_other_data(store: EventStore) -> None:
    """F29, F27: what was appended is what it was at the call."""
    payload = {"amount": 100}
    event = EventData("Paid", payload)
    store.append_to_stream("s", 0, [event])
    payload["amount"] = 200

    with pytest.raises(DuplicateEventError):
        store.append_to_stream("s", 0, [event])
    assert store.read_stream_forward("s")[0].data == {"amount": 100}


def test_an_honest_retry_says_that_it_is_one(store: EventStore) -> None:
    """F29, G6: it carries another trace, and its keys in another order."""
    first = store.append_to_stream("s", 0, [PAID])
    retry = replace(
        PAID,
        data={"to": "Ada", "amount": 100},
        metadata={"trace": 2},
        causation_id=uuid4(),
        correlation_id=uuid4(),
        created_at=datetime(2013, 1, 1, tzinfo=UTC),
    )

    again = store.append_to_stream("s", 0, [retry])

    assert (first.repeated, again.repeated) == (False, True)
    assert replace(again, repeated=False) == first
    assert store.read_stream_forward("s")[0].metadata == {"trace": 1}


def test_several_streams_stand_or_fall_together(store: EventStore) -> None:
    """F29, G6, G9."""
    sent, received = EventData("Sent", {"n": 1}), EventData("Received", {"n": 1})
    first = store.append_to_streams([("a", 0, [sent]), ("b", 0, [received]), ("c", 0, [])])
    other = replace(received, data={"n": 2})

    with pytest.raises(DuplicateEventError, match=str(received.event_id)):
        store.append_to_streams([("a", ANY, [sent]), ("b", ANY, [other])])
    again = store.append_to_streams([("a", ANY, [sent]), ("b", ANY, [received]), ("c", ANY, [])])

    assert [result.repeated for result in first] == [False] * 3
    assert [result.repeated for result in again] == [True] * 3
    assert [replace(result, repeated=False) for result in again] == first


def test_of_many_at_once_with_one_id_the_stored_one_succeeds(store: EventStore) -> None:
    """F29, G6, G7: whoever shares a commit with whom."""
    event_id = uuid4()

    def append(number: int) -> AppendResult | DuplicateEventError:
        try:
            return store.append_to_stream("s", ANY, [EventData("X", number, event_id=event_id)])
        except DuplicateEventError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(append, range(16)))

    (stored,) = store.read_stream_forward("s")
    succeeded = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, AppendResult)]
    assert succeeded == [stored.data]


@dataclass
class Paid:
    amount: int


@dataclass
class PaidInACurrency:
    amount: int
    currency: str = "EUR"


@pytest.fixture
def versions_of_paid(connect: Connect) -> Callable[[type], EventStore]:
    return lambda kind: connect(types={"paid": kind})


def test_a_new_version_of_the_service_may_repeat_what_the_old_one_stored(
    versions_of_paid: Callable[[type], EventStore],
) -> None:
    """F29, G6: compared as the deployed class reads both."""
    old, new = versions_of_paid(Paid), versions_of_paid(PaidInACurrency)
    event_id = uuid4()
    old.append_to_stream("s", 0, [EventData.of(Paid(100), event_id=event_id)])

    same = EventData.of(PaidInACurrency(100), event_id=event_id)
    assert new.append_to_stream("s", 0, [same]).repeated
    other = EventData.of(PaidInACurrency(100, "USD"), event_id=event_id)
    with pytest.raises(DuplicateEventError):
        new.append_to_stream("s", 0, [other])


def test_what_cannot_be_read_is_not_the_same(connect: Connect, config: Config) -> None:
    """F29, F26."""
    event_id = uuid4()
    connect().append_to_stream("s", 0, [EventData("paid", {"amount": "?"}, event_id=event_id)])

    with pytest.raises(DuplicateEventError, match=str(event_id)):
        connect(types={"paid": Paid}).append_to_stream(
            "s", 0, [EventData.of(Paid(1), event_id=event_id)]
        )
