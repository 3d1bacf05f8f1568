from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from uuid import UUID, uuid4, uuid5

import msgspec
import pytest

from eventstore import EventData, RecordedEvent
from eventstore.cli.import_command import IMPORT
from eventstore.cli.import_lines import (
    NAMESPACE,
    OPTIONAL,
    EventIds,
    parse_lines,
)
from eventstore.cli.json_lines import MAX_LINE_BYTES, BadLineError, bounded_lines
from eventstore.client.codec import MAX_EVENT_BYTES
from eventstore.client.runs import runs

NO_ID = b'{"stream_id": "s", "event_type": "T", "data": 1}'


def test_a_line_without_an_id_gets_a_uuid5_of_its_bytes_and_its_ordinal() -> None:
    ids = EventIds()
    assert [ids.of(b"a"), ids.of(b"b"), ids.of(b"a")] == [
        uuid5(NAMESPACE, "a\n0"),
        uuid5(NAMESPACE, "b\n0"),
        uuid5(NAMESPACE, "a\n1"),
    ]


def test_the_namespace_never_changes() -> None:
    """With another one, running an interrupted import again would store everything twice."""
    assert EventIds().of(NO_ID) == UUID("18690a0e-8be7-5d13-9eb5-ca41f8693e9f")


def test_the_same_lines_get_the_same_ids_whatever_their_line_ends() -> None:
    unix = [item.event.event_id for item in parse_lines([NO_ID + b"\n", NO_ID])]
    dos = [item.event.event_id for item in parse_lines([NO_ID + b"\r\n", b"\r\n", NO_ID + b"\r\n"])]
    assert unix == dos
    assert len({*unix}) == 2


def test_a_byte_order_mark_at_the_start_is_no_part_of_the_line() -> None:
    [plain], [marked] = list(parse_lines([NO_ID])), list(parse_lines([b"\xef\xbb\xbf" + NO_ID]))
    assert plain.event.event_id == marked.event.event_id


def test_everything_that_read_prints_is_taken_over() -> None:
    content = {
        "event_id": str(uuid4()),
        "event_type": "Typ",
        "stream_id": "ström",
        "stream_version": 7,
        "global_position": 9,
        "position": 9,
        "data": {"a": [1, None, 1.5, "ü"]},
        "metadata": {"user": "x"},
        "causation_id": str(uuid4()),
        "correlation_id": str(uuid4()),
        "created_at": "2013-01-01T05:17:00.000001Z",
    }
    [parsed] = parse_lines([json.dumps(content).encode()])
    event = parsed.event
    assert parsed.stream_id == "ström"
    assert (str(event.event_id), event.event_type) == (content["event_id"], "Typ")
    assert (event.data, event.metadata) == (content["data"], content["metadata"])
    assert str(event.causation_id) == content["causation_id"]
    assert str(event.correlation_id) == content["correlation_id"]
    assert event.created_at is not None
    assert event.created_at.isoformat() == "2013-01-01T05:17:00.000001+00:00"


def test_a_line_has_every_field_of_an_event_and_no_list_of_its_own() -> None:
    """What `read --json` prints of an event comes back as the same event."""
    moment = datetime(2013, 1, 1, 5, 17, tzinfo=UTC)
    recorded = RecordedEvent(
        event_id=uuid4(),
        event_type="T",
        stream_id="s",
        stream_version=7,
        global_position=9,
        position=9,
        data=1,
        metadata=2,
        causation_id=uuid4(),
        correlation_id=uuid4(),
        created_at=moment,
    )
    [parsed] = parse_lines([msgspec.json.encode(recorded)])
    assert parsed.stream_id == recorded.stream_id
    for field in msgspec.structs.fields(EventData):
        assert getattr(parsed.event, field.name) == getattr(recorded, field.name), field.name
    assert IMPORT.details is not None
    assert all(name in IMPORT.details for name in OPTIONAL)


def test_what_a_line_leaves_out_has_the_default_of_an_event() -> None:
    [parsed] = parse_lines([NO_ID])
    plain = EventData("T", 1, event_id=parsed.event.event_id)
    assert parsed.event == plain


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{", "not JSON: it ends too early"),
        (b'{"stream_id": "s", "event_type": "T", "data": "cut', "not JSON: it ends too early"),
        (b"nonsense", "not JSON: unexpected 'n' at character 1"),
        (NO_ID + b" 2", "not JSON: unexpected '2' at character 50"),
        (b"[]", "must be a JSON object: []"),
        (b"null", "must be a JSON object: None"),
        (b'{"stream_id": "s", "event_type": "T", "data": NaN}', "NaN and Infinity are not JSON"),
        (b'{"stream_id": "s", "event_type": "T", "data": "\\ud800"}', "a lone surrogate"),
        (b'{"stream_id": "s", "event_type": "T", "data": 1e999}', "number '1e999' is out of range"),
        (
            b'{"stream_id": "s", "event_type": "T", "data": -' + b"1" * 5000 + b"}",
            "is out of range",
        ),
        (b'{"stream_id": "s", "event_type": "T"}', "field 'data' is missing"),
        (b'{"stream_id": "s", "data": 1}', "field 'event_type' is missing"),
        (b'{"event_type": "T", "data": 1}', "field 'stream_id' is missing"),
        (b'{"stream_id": 1, "event_type": "T", "data": 1}', "stream_id must be text: 1"),
        (b'{"stream_id": "", "event_type": "T", "data": 1}', "stream_id must not be empty"),
        (b'{"stream_id": "$all", "event_type": "T", "data": 1}', "must not start with '$'"),
        (b'{"stream_id": "s", "event_type": "", "data": 1}', "event_type must not be empty"),
        (b'{"stream_id": "s", "event_type": "T", "data": 1, "evnt": 2}', "unknown field 'evnt'"),
        (
            b'{"stream_id": "s", "event_type": "T", "data": 1, "event_id": "x"}',
            "event_id must be a UUID: 'x'",
        ),
        (
            b'{"stream_id": "s", "event_type": "T", "data": 1, "created_at": "2020-01-01T00:00"}',
            "created_at must be a time of ISO 8601: '2020-01-01T00:00'",
        ),
        (
            b'{"stream_id":"s", "event_type":"T", "data":1, "created_at":"2020-01-01T00:00:00"}',
            "must have a time zone",
        ),
        (
            b'{"stream_id": "' + "字".encode() * 1000 + b'", "event_type": "T", "data": 1}',
            "3000 bytes",
        ),
        (b'{"stream_id":"s","event_type":"T","data":{"a":1,"a":2}}', "key 'a' is given twice"),
        (b'{"stream_id":"s","event_type":"T","data":[[{"a":{"":1,"":2}}]]}', "key '' is given"),
        (
            b'{"stream_id":"s","stream_id":"s","event_type":"T","data":1}',
            "key 'stream_id' is given",
        ),
        (b'{"stream_id":7,"stream_id":"s","event_type":"T","data":1}', "key 'stream_id'"),
        (b"\xff\xfe{", "not UTF-8: byte 1"),
        (b"\x00" * 20, "not JSON: unexpected '\\x00' at character 1"),
        (b'{"stream_id": "\xff"}', "not UTF-8: byte 16"),
        (b'{"stream_id": "s", "event_type": "T", "data": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_after_the_good_ones_before_it(bad: bytes, reason: str) -> None:
    """F58: the reason is in our words, whatever the library that decodes says."""
    parsed = parse_lines([NO_ID, b"\n", bad, NO_ID])
    assert next(parsed).number == 1
    with pytest.raises(BadLineError, match="^line 3: .*" + re.escape(reason)) as caught:
        next(parsed)
    assert caught.value.number == 3
    assert "\n" not in str(caught.value)


def test_no_more_of_a_line_is_read_than_an_event_can_have() -> None:
    """F48: and the lines before it are there."""
    file = io.BytesIO(b"12345\n\n1234\r\n123456\n1\n")
    lines = bounded_lines(file, 5)
    assert [next(lines) for _ in range(3)] == [b"12345\n", b"\n", b"1234\r\n"]
    with pytest.raises(BadLineError, match=r"^line 4: longer than 5 bytes") as refused:
        next(lines)
    assert refused.value.number == 4
    assert file.tell() == 13 + 6
    assert list(bounded_lines(io.BytesIO(b"12345"), 5)) == [b"12345"]
    assert MAX_EVENT_BYTES < MAX_LINE_BYTES < MAX_EVENT_BYTES + 1_000_000


def test_lines_before_a_bad_one_are_returned_as_a_commit_first() -> None:
    found = runs(parse_lines([NO_ID, NO_ID, b"nonsense"]), 9)
    assert [item.number for item in next(found)] == [1, 2]
    with pytest.raises(BadLineError):
        next(found)
