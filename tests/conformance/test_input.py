"""Bad input gets an error that names the argument and shows the value, and loses nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from eventstore import (
    DuplicateEventError,
    EventData,
    EventStore,
    ExpectedVersion,
    WrongExpectedVersionError,
)
from tests.conformance.conftest import CHINESE, numbered

ANY = ExpectedVersion.ANY


@pytest.mark.parametrize("empty", [[], (), iter(())])
def test_no_events_are_refused(one: EventStore, empty: Any) -> None:
    """G28: an empty list, tuple or iterator."""
    with pytest.raises(ValueError, match=r"events must not be empty.*'order-1'"):
        one.append_to_stream("order-1", 1, empty)


def test_a_single_event_is_not_a_list(one: EventStore) -> None:
    """G28: the error says what to do."""
    with pytest.raises(TypeError, match=r"events.*single event into a list"):
        one.append_to_stream("order-1", 1, EventData("Lonely", {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("events", "shown"),
    [
        ("text", "str: 'text'"),
        (b"bytes", "bytes: b'bytes'"),
        ({"a": 1}, "dict: {'a': 1}"),
        (None, "NoneType: None"),
        (17, "int: 17"),
        ([{"event": 1}], "dict: {'event': 1}"),
        ([EventData("Good", {}), None], "NoneType: None"),
    ],
)
def test_what_is_no_event_is_shown(one: EventStore, events: Any, shown: str) -> None:
    """G28, G1: also behind a good one."""
    with pytest.raises(TypeError, match=f"events must be .*not {shown}"):
        one.append_to_stream("order-1", 1, events)


def test_swapped_arguments_are_told_apart(one: EventStore) -> None:
    """G28: each by its own type."""
    with pytest.raises(TypeError, match="stream_id must be a str, not int: 1"):
        one.append_to_stream(1, "order-1", numbered(1, 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"expected_version must be .*list"):
        one.append_to_stream("order-1", numbered(1, 1), 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"events must be an iterable, not ExpectedVersion"):
        one.append_to_stream("order-1", 1, ANY)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stream_id", "message"),
    [
        ("", "stream_id must not be empty"),
        ("$all", r"stream_id must not start with '\$': '\$all'"),
        ("$mine", r"stream_id must not start with '\$': '\$mine'"),
        (CHINESE * 1_000, "stream_id is 3000 bytes of UTF-8, at most 1000 are possible"),
        ("a" * 1_001, "stream_id is 1001 bytes"),
        (CHINESE * 333 + "ab", "stream_id is 1001 bytes"),
        ("nul\x00", r"stream_id must not contain NUL: 'nul\\x00'"),
        ("lone\ud800", r"stream_id must be valid Unicode without lone surrogates: 'lone\\ud800'"),
    ],
)
def test_what_cannot_name_a_stream_is_refused(
    one: EventStore, stream_id: str, message: str
) -> None:
    """G28: for appends, reads and subscriptions alike."""
    uses: list[Callable[[], object]] = [
        lambda: one.append_to_stream(stream_id, ANY, numbered(1, 1)),
        lambda: one.append_to_streams([("good", 0, numbered(1, 1)), (stream_id, 0, [])]),
        lambda: one.read_stream_forward(stream_id),
        lambda: one.read_stream_backward(stream_id),
        lambda: one.stream_forward(stream_id),
        lambda: one.subscribe_to_stream(stream_id, "name", print),
    ]
    for use in uses:
        with pytest.raises(ValueError, match=message):
            use()


def test_333_chinese_characters_name_a_stream(store: EventStore) -> None:
    """G28: 999 bytes."""
    assert store.append_to_stream(CHINESE * 333, 0, numbered(1, 1)).last_version == 1


@pytest.mark.parametrize("version", [-3, -1, -2, -(2**63)])
def test_a_negative_version_is_no_version(one: EventStore, version: int) -> None:
    """G28: not even where an `ExpectedVersion` has that value."""
    with pytest.raises(ValueError, match=f"expected_version must be 0 or more.*: {version}"):
        one.append_to_stream("order-1", version, numbered(1, 1))


@pytest.mark.parametrize("version", [True, False, 1.0, "1", None])
def test_what_is_no_int_is_no_version(one: EventStore, version: Any) -> None:
    """G28: True is not version 1."""
    kind = type(version).__name__
    with pytest.raises(TypeError, match=f"expected_version must be .*not {kind}: {version!r}"):
        one.append_to_stream("order-1", version, numbered(1, 1))


def test_a_version_that_no_stream_can_reach_is_refused(one: EventStore) -> None:
    """G28, G2: the last one that can be is just another version."""
    with pytest.raises(ValueError, match=f"expected_version must be at most .*: {2**63}"):
        one.append_to_stream("order-1", 2**63, numbered(1, 1))
    with pytest.raises(WrongExpectedVersionError, match=f"at version 1, expected {2**63 - 1}"):
        one.append_to_stream("order-1", 2**63 - 1, numbered(1, 1))


@pytest.mark.parametrize(
    ("appends", "error", "message"),
    [
        ([], ValueError, "appends must not be empty"),
        ([("a", 0)], TypeError, r"appends must be \(stream_id, expected_version, events\): \('a'"),
        (["a"], TypeError, "appends must be .*'a'"),
        ("a", TypeError, "appends must be an iterable, not str: 'a'"),
        ([("a", 0, []), ("a", ANY, [])], ValueError, "stream 'a' occurs twice"),
    ],
)
def test_what_is_no_append_to_several_streams(
    one: EventStore, appends: Any, error: type[Exception], message: str
) -> None:
    """G9, G28: the shape of the argument is told."""
    with pytest.raises(error, match=message):
        one.append_to_streams(appends)


def test_an_event_twice_in_one_append_is_a_duplicate(one: EventStore) -> None:
    """G6, G28: also over two streams, and before anything is sent."""
    event = EventData("Twice", {})

    for append in (
        lambda: one.append_to_stream("order-1", ANY, [event, event]),
        lambda: one.append_to_streams([("a", 0, [event]), ("b", 0, [event])]),
    ):
        with pytest.raises(DuplicateEventError, match=str(event.event_id)) as raised:
            append()
        assert raised.value.event_id == event.event_id


@pytest.mark.parametrize("timeout", [math.inf, 1e300, 10**30, 3])
def test_a_timeout_may_be_as_long_as_anybody_likes(store: EventStore, timeout: float) -> None:
    """G25, G28: also for ever."""
    assert store.append_to_stream("order-1", 0, numbered(1, 1), timeout=timeout).last_version == 1


@pytest.mark.parametrize("timeout", [0, -1, math.nan])
def test_a_timeout_that_cannot_pass_is_refused(one: EventStore, timeout: float) -> None:
    """G25, G28."""
    with pytest.raises(ValueError, match=f"timeout must be more than 0 seconds: {timeout}"):
        one.append_to_stream("order-1", 1, numbered(1, 1), timeout=timeout)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda s: s.read_stream_forward("order-1", 0), "start_version must be at least 1: 0"),
        (lambda s: s.read_stream_forward("order-1", -1), "start_version must be at least 1: -1"),
        (lambda s: s.read_stream_forward("order-1", 1, 0), "count must be at least 1: 0"),
        (lambda s: s.read_stream_backward("order-1", -2), "start_version must be .*: -2"),
        (lambda s: s.read_all_streams_forward(0), "start_position must be at least 1: 0"),
        (lambda s: s.read_all_streams_forward(1, 0), "count must be at least 1: 0"),
        (lambda s: s.stream_all_forward(batch_size=10_001), "batch_size must be 1 to .*: 10001"),
        (lambda s: s.read_all_streams_backward(-5), "start_position must be .*: -5"),
        (lambda s: s.stream_forward("order-1", 0), "start_version must be at least 1: 0"),
        (lambda s: s.stream_forward("order-1", batch_size=0), "batch_size must be 1 to .*: 0"),
        (lambda s: s.stream_all_forward(0), "start_position must be at least 1: 0"),
        (lambda s: s.stream_all_backward(-2), "start_position must be .*: -2"),
    ],
)
def test_a_place_that_cannot_be_read_from_is_refused(
    one: EventStore, read: Callable[[EventStore], object], message: str
) -> None:
    """G28: negative positions and counts, at once."""
    with pytest.raises(ValueError, match=message):
        read(one)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda s: s.read_stream_forward("order-1", "1"), "start_version must be an int.*'1'"),
        (lambda s: s.read_stream_forward("order-1", True), "start_version must be an int.*True"),
        (lambda s: s.read_all_streams_forward(count=1.5), "count must be an int.*1.5"),
        (lambda s: s.read_all_streams_forward("order-1"), "start_position must be an int.*order"),
        (lambda s: s.stream_info(None), "stream_id must be a str, not NoneType: None"),
    ],
)
def test_a_place_of_the_wrong_type_is_refused(
    one: EventStore, read: Callable[[EventStore], object], message: str
) -> None:
    """G28."""
    with pytest.raises(TypeError, match=message):
        read(one)
