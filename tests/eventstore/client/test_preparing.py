"""What a caller asks to append is checked before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore import DuplicateEventError, EventData, ExpectedVersion, JsonSerializer
from eventstore.client.appending import prepare_one, prepare_several
from eventstore.client.codec import Codec

CODEC = Codec(JsonSerializer())
EVENT = EventData("X", 1)


def test_events_are_read_once() -> None:
    append = prepare_one(CODEC, "s", ExpectedVersion.ANY, (EventData("X", n) for n in range(3)))
    assert [event.data for event in append[0].events] == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("s", 0, []), "events must not be empty (append to 's')"),
        (("s", 0, EVENT), "put the single event into a list"),
        (("s", 0, "text"), "events must be an iterable, not str: 'text'"),
        (("s", 0, {"a": 1}), "events must be an iterable, not dict"),
        (("s", 0, None), "events must be an iterable, not NoneType"),
        (("s", 0, [{"type": "X"}]), "events must be EventData, not dict"),
        (("s", [EVENT], 0), "expected_version must be a version or an ExpectedVersion, not list"),
        (([EVENT], 0, "s"), "stream_id must be a str, not list"),
        ((0, "s", [EVENT]), "stream_id must be a str, not int: 0"),
        (("s", -1, [EVENT]), "expected_version must be 0 or more, or an ExpectedVersion: -1"),
        (("", 0, [EVENT]), "stream_id must not be empty"),
        (("$all", 0, [EVENT]), "stream_id must not start with '$': '$all'"),
        (("漢" * 1_000, 0, [EVENT]), "stream_id is 3000 bytes of UTF-8, at most 1000"),
        (("a\x00", 0, [EVENT]), "stream_id must not contain NUL"),
        (("\ud800", 0, [EVENT]), "stream_id must be valid Unicode"),
    ],
)
def test_a_bad_argument_is_named_and_shown(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refusal:
        prepare_one(CODEC, *arguments)
    assert message in str(refusal.value)
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize(
    ("appends", "message"),
    [
        ([], "appends must not be empty"),
        ([("s", 0)], "appends must be (stream_id, expected_version, events): ('s', 0)"),
        (["abc"], "appends must be (stream_id, expected_version, events): 'abc'"),
        ([("s", 0, [EVENT]), ("s", 1, [])], "stream 's' occurs twice in one append"),
    ],
)
def test_a_bad_append_to_several_streams_is_refused(appends: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refusal:
        prepare_several(CODEC, appends)
    assert message in str(refusal.value)


def test_an_event_id_twice_in_one_call_is_a_duplicate() -> None:
    """G6."""
    with pytest.raises(DuplicateEventError) as refusal:
        prepare_one(CODEC, "s", 0, [EVENT, EventData("Y", 2), EVENT])
    assert refusal.value.event_id == EVENT.event_id
    with pytest.raises(DuplicateEventError):
        prepare_several(CODEC, [("s", 0, [EVENT]), ("t", 0, [EVENT])])


def test_an_append_of_more_than_256_mib_is_refused() -> None:
    """G28."""
    large = "x" * (60 * 1024 * 1024)
    with pytest.raises(ValueError, match=r"events are 314,572,810 bytes, at most 268,435,456"):
        prepare_one(CODEC, "s", 0, (EventData("X", large) for _ in range(5)))


def test_a_stream_without_events_is_only_checked() -> None:
    append = prepare_several(CODEC, [("s", ExpectedVersion.STREAM_EXISTS, []), ("t", 3, iter([]))])
    assert [(part.stream_id, part.expected_version, part.events) for part in append] == [
        ("s", -2, ()),
        ("t", 3, ()),
    ]
