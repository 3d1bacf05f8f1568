"""What a handler raises as an instruction is checked where it is made."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore import EventStoreError, RetryAfter, Skip, Stop

WRONG: Any = 7
TEXT: Any = "1"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Skip(""), ValueError, "reason must not be empty"),
        (lambda: Skip(WRONG), TypeError, "reason must be a str, not int: 7"),
        (lambda: Skip("x" * 2_001), ValueError, "reason is 2001 bytes"),
        (lambda: Skip("why", WRONG), TypeError, "event must be an event of the batch: 7"),
        (lambda: Stop(WRONG), TypeError, "reason must be a str, not int: 7"),
        (lambda: RetryAfter(TEXT), TypeError, "seconds must be seconds, not str: '1'"),
        (lambda: RetryAfter(-1), ValueError, "seconds must be 0 to 1,000,000 seconds: -1"),
        (lambda: RetryAfter(float("nan")), ValueError, "seconds must be 0 to"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make: Any, error: type[Exception], message: str) -> None:
    """G30."""
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("answer", [Skip("why"), Stop("why"), RetryAfter(1)])
def test_they_are_no_failures_of_the_store(answer: Exception) -> None:
    """Who catches those does not swallow an instruction."""
    assert not isinstance(answer, EventStoreError)
