"""Errors say what to do next, show what is concerned, and cross processes."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from uuid import UUID

import pytest

from eventstore.model import errors
from eventstore.model.errors import EventStoreError
from eventstore.model.events import ExpectedVersion

ERRORS: list[tuple[EventStoreError, str]] = [
    (
        errors.WrongExpectedVersionError("order-1", ExpectedVersion.STREAM_EXISTS, 0),
        "stream 'order-1' is at version 0, expected STREAM_EXISTS",
    ),
    (
        errors.WrongExpectedVersionError("order-1", 3, 5),
        "stream 'order-1' is at version 5, expected 3",
    ),
    (
        errors.DuplicateEventError(UUID(int=7)),
        "event id 00000000-0000-0000-0000-000000000007 is already used by another append",
    ),
    (errors.StreamNotFoundError("order-1"), "stream 'order-1' does not exist"),
    (
        errors.StreamDeletedError("order-1", datetime(2026, 1, 2, tzinfo=UTC)),
        "stream 'order-1' was deleted at 2026-01-02T00:00:00+00:00",
    ),
    (errors.SerializationError("Placed", "data: no"), "event type 'Placed': data: no"),
    (
        errors.SerializationError("Sum", "data: no", kind="snapshot"),
        "snapshot type 'Sum': data: no",
    ),
    (
        errors.SubscriptionInUseError("$all", "ship", "web-3:17", datetime(2026, 1, 2, tzinfo=UTC)),
        "subscription 'ship' to '$all' is held by web-3:17 since 2026-01-02T00:00:00+00:00",
    ),
    (
        errors.SubscriptionOptionsError("$all", "ship", {"stream_prefix": "a"}, {}),
        (
            "subscription 'ship' to '$all' has the options {'stream_prefix': 'a'}, not {}:"
            " give those, reset it, or use another name"
        ),
    ),
    (errors.SubscriptionNotFoundError("$all", "ship"), "no subscription 'ship' to '$all'"),
    (
        errors.UnexpectedAckError("$all", "ship", 9, 4),
        "subscription 'ship' to '$all': position 9 was not delivered, the highest delivered is 4",
    ),
    (
        errors.UnexpectedAckError("$all", "ship", 9, reason="is of what nobody delivered"),
        "subscription 'ship' to '$all': position 9 is of what nobody delivered",
    ),
    (errors.DeliveryTimeoutError("late", "$all", "ship", "retrying"), "late"),
    (errors.SchemaVersionError("too new", found=9, expected=1), "too new"),
    (errors.TooManyAppendsError("full"), "full"),
]


@pytest.mark.parametrize(("error", "message"), ERRORS)
def test_an_error_shows_what_is_concerned(error: EventStoreError, message: str) -> None:
    assert str(error) == message


@pytest.mark.parametrize("error", [error for error, _ in ERRORS])
def test_an_error_crosses_processes_with_its_fields(error: EventStoreError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_what_may_be_repeated_says_so() -> None:
    repeatable = {name for name in errors.__all__ if getattr(errors, name).retryable}
    assert repeatable == {
        "OutcomeUnknownError",
        "StorageUnavailableError",
        "TooManyAppendsError",
    }


def test_a_delivery_timeout_is_a_timeout() -> None:
    assert issubclass(errors.DeliveryTimeoutError, TimeoutError)
