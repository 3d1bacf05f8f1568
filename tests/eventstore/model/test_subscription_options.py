"""Options of a subscription are checked by name; what is waited for has one place per stream."""

from __future__ import annotations

import inspect
import re
from dataclasses import Field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

from eventstore import (
    AppendResult,
    CallerRuntime,
    EventStore,
    RecordedEvent,
    Retry,
    SubscriptionKeywords,
)
from eventstore.model.awaited import last_of, positions_in
from eventstore.model.subscription import (
    MIB,
    BatchBy,
    SubscriptionOptions,
    WhenOwned,
)
from eventstore.model.subscription_start import Origin, parse_start


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be at least 1: 0"),
        ({"transactional": "own"}, "transactional must be True, False or 'caller': 'own'"),
        ({"transactional": 1}, "transactional must be a bool, not int: 1"),
        (
            {"transactional": True, "checkpoint_after": 1.0},
            "checkpoint_after cannot be used with transactional,",
        ),
        ({"buffer_size": -5}, "buffer_size must be at least 1: -5"),
        ({"buffer_bytes": 1.5}, "buffer_bytes must be an int, not float: 1.5"),
        ({"ack_timeout": "1"}, "ack_timeout must be seconds, not str: '1'"),
        ({"ack_timeout": 0}, "ack_timeout must be more than 0 seconds: 0"),
        ({"ack_timeout": float("nan")}, "ack_timeout must be more than 0 seconds: nan"),
        ({"checkpoint_after": "1"}, "checkpoint_after must be seconds, not str: '1'"),
        ({"checkpoint_after": 0}, "checkpoint_after must be 0.01 to 1,000,000 seconds: 0"),
        ({"checkpoint_after": 1e7}, "checkpoint_after must be 0.01 to 1,000,000 seconds: 10000000"),
        ({"checkpoint_threshold": 0}, "checkpoint_threshold must be at least 1: 0"),
        ({"checkpoint_threshold": 2.0}, "checkpoint_threshold must be an int, not float: 2.0"),
        ({"checkpoint_threshold": True}, "checkpoint_threshold must be an int, not bool: True"),
        ({"on_error": 3}, "on_error must be a Retry: 3"),
        ({"selector": "x"}, "selector must be callable: 'x'"),
        ({"mapper": 1}, "mapper must be callable: 1"),
    ],
)
def test_a_bad_option_is_named_and_shown(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refusal:
        SubscriptionOptions(**options)
    assert message in str(refusal.value)


def test_an_unknown_option_is_named_with_those_there_are() -> None:
    given: Any = {"max_batch": 3}
    with pytest.raises(TypeError, match=r"'max_batch' is not an option .* max_batch_size, "):
        SubscriptionOptions.parse(given)
    with EventStore.connect("memory:", runtime=CallerRuntime) as store:
        with pytest.raises(TypeError, match="'max_batch' is not an option"):
            store.subscribe_to_stream("s", "n", print, **given)
        with pytest.raises(TypeError, match="'max_batch' is not an option"):
            store.subscribe_to_all_streams("n", print, **given)


def test_what_was_given_is_parsed_and_the_rest_has_its_default() -> None:
    assert SubscriptionOptions.parse({}) == SubscriptionOptions()
    parsed = SubscriptionOptions.parse(
        {"start_from": 7, "batch_by": "any", "when_owned": "error", "on_error": None}
    )
    assert parsed == SubscriptionOptions(
        start_from=7, batch_by=BatchBy.ANY, when_owned=WhenOwned.ERROR
    )


def test_every_keyword_is_an_option_and_every_option_a_keyword() -> None:
    assert [*SubscriptionKeywords.__annotations__] == [f.name for f in fields(SubscriptionOptions)]


def default_text(value: object) -> str:
    match value:
        case Retry():
            return "Retry()"
        case StrEnum():
            return f'"{value}"'
        case int() if value >= MIB:
            return f"{value // MIB} MiB"
        case int() if not isinstance(value, bool):
            return f"{value:,}"
    return str(value)


@pytest.mark.parametrize("option", fields(SubscriptionOptions), ids=lambda option: option.name)
@pytest.mark.parametrize(
    "shown",
    [SubscriptionKeywords, EventStore.subscribe_to_stream, EventStore.subscribe_to_all_streams],
)
def test_help_shows_every_option_with_its_default(shown: object, option: Field[Any]) -> None:
    """The defaults are written once; what is said of them must agree."""
    documented = " ".join((inspect.getdoc(shown) or "").split())
    default = re.search(rf" {option.name}: .*? Defaults to (.*?)\.(?: |$)", documented)
    assert default is not None
    assert default[1] == default_text(option.default)


@pytest.mark.parametrize("value", ["end", "", -1, True, 1.0, None])
def test_a_bad_start_is_shown(value: object) -> None:
    with pytest.raises((ValueError, TypeError), match="start_from must be") as refusal:
        parse_start(value)
    assert repr(value) in str(refusal.value)


def test_starts_are_parsed() -> None:
    assert parse_start("origin") is Origin.ORIGIN
    assert parse_start("current") is Origin.CURRENT
    assert parse_start(7) == 7


def test_retries_wait_longer_each_time_up_to_a_limit() -> None:
    retry = Retry(first=0.5, factor=3.0, longest=10.0)
    assert [retry.delay(attempt) for attempt in range(1, 6)] == [0.5, 1.5, 4.5, 10.0, 10.0]
    assert Retry(factor=1e300).delay(10_000) == 30.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"first": -1}, "first must be 0 to 1,000,000 seconds: -1"),
        ({"first": 40}, "first must be at most longest (30.0): 40"),
        ({"first": "1"}, "first must be seconds, not str: '1'"),
        ({"longest": float("inf")}, "longest must be 0 to 1,000,000 seconds: inf"),
        ({"factor": 0.5}, "factor must be at least 1: 0.5"),
        ({"factor": float("nan")}, "factor must be at least 1: nan"),
        ({"attempts": 0}, "attempts must be at least 1: 0"),
        ({"attempts": True}, "attempts must be an int, not bool: True"),
        ({"then": "forget"}, "then must be one of 'stop', 'park', 'skip': 'forget'"),
        ({"outage": OSError}, "outage must be a tuple of exception classes: <class 'OSError'>"),
        ({"outage": (1,)}, "outage must be a tuple of exception classes: (1,)"),
    ],
)
def test_a_bad_retry_is_named_and_shown(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refusal:
        Retry(**fields)
    assert str(refusal.value) == message


def result(stream_id: str, version: int, position: int | None) -> AppendResult:
    return AppendResult(
        stream_id=stream_id,
        first_version=None if position is None else version,
        last_version=version,
        first_global_position=position,
        last_global_position=position,
    )


EVENT = RecordedEvent(
    event_id=UUID(int=1),
    event_type="X",
    stream_id="s",
    stream_version=3,
    global_position=9,
    position=3,
    data=None,
    metadata=None,
    causation_id=None,
    correlation_id=None,
    created_at=datetime.now(UTC),
)


@pytest.mark.parametrize(
    ("stream_id", "what", "position"),
    [
        ("s", EVENT, 3),
        ("$all", EVENT, 9),
        ("s", result("s", 4, 12), 4),
        ("$all", result("s", 4, 12), 12),
        ("$all", [result("s", 4, 12), result("t", 1, 13), result("u", 2, None)], 13),
        ("t", [result("s", 4, 12), result("t", 1, 13)], 1),
        ("s", 7, 7),
        ("$all", 0, 0),
    ],
)
def test_what_is_waited_for_has_a_position(stream_id: str, what: object, position: int) -> None:
    assert last_of(positions_in(stream_id, what)) == position


@pytest.mark.parametrize(
    ("stream_id", "what", "message"),
    [
        ("t", EVENT, "'s' is not the subscribed stream 't'"),
        ("t", result("s", 4, 12), "'s' is not the subscribed stream 't'"),
        ("t", [result("s", 4, 12)], "none of the results is of 't'"),
        ("$all", result("s", 4, None), "only checked"),
        ("s", result("s", 4, None), "only checked"),
        ("s", [result("s", 4, None)], "none of the results is of 's'"),
        ("$all", [], "wait for an AppendResult"),
        ("$all", "3", "wait for an AppendResult"),
        ("$all", True, "wait for an AppendResult"),
        ("$all", 3.0, "wait for an AppendResult"),
        ("$all", -1, "position must be at least 0: -1"),
    ],
)
def test_what_has_no_place_in_the_stream_is_refused(
    stream_id: str, what: object, message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message.replace("$", r"\$")):
        positions_in(stream_id, what)
