"""Lines of an import: their fields, their event ids, the commits that they share. Pure.

An interrupted import is run again from the start: the same lines get the same event ids and form
the same commits, and a repeated append stores nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha1
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import fields

from eventstore.cli.json_lines import BadLineError, stripped
from eventstore.cli.json_text import decode_json
from eventstore.client.runs import by_stream
from eventstore.model.checks import shown
from eventstore.model.events import EventData, ExpectedVersion, RecordedEvent
from eventstore.model.names import check_stream_id

__all__ = [
    "MAX_COMMIT_LINES",
    "OPTIONAL",
    "BadLineError",
    "EventIds",
    "ImportLine",
    "parse_lines",
    "parts",
]

NAMESPACE = UUID("0b791f6f-a8dd-493e-8051-7218aee31098")
"""Namespace of the UUIDv5 of lines without an event id; a new one would import them twice."""

MAX_COMMIT_LINES = 1_000


@dataclass(frozen=True, slots=True)
class ImportLine:
    """A line that can be appended."""

    number: int
    size: int
    """Size of the line in bytes."""
    stream_id: str
    event: EventData


_EVENT = {field.name: field for field in fields(EventData)}

OPTIONAL = tuple(name for name, field in _EVENT.items() if not field.required)
"""Fields of an event that a line may leave out."""


def _line_type() -> type[msgspec.Struct]:
    """Return the shape of a line: a stream id, and the fields of an event.

    Fields that only a recorded event has are read and ignored: `read --json` prints them, and the
    store assigns its own.
    """
    assigned = [f for f in fields(RecordedEvent) if f.name not in {"stream_id", *_EVENT}]
    required = [(f.name, f.type) for f in _EVENT.values() if f.required]
    optional = [_EVENT[name] for name in OPTIONAL]
    return msgspec.defstruct(
        "Line",
        [
            ("stream_id", str),
            *required,
            *((f.name, f.type | None, None) for f in [*optional, *assigned]),
        ],
        forbid_unknown_fields=True,
    )


_LINE = _line_type()
_FIELDS = {field.name: field for field in fields(_LINE)}

_IN_WORDS: dict[Any, str] = {
    str: "text",
    UUID | None: "a UUID",
    datetime | None: "a time of ISO 8601",
    int | None: "a whole number",
}
"""Types of a line's fields, as error messages name them."""


class EventIds:
    """Generates ids for lines without one.

    Keeps a hash of each distinct line, about 150 bytes.
    """

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def of(self, line: bytes) -> UUID:
        """Return the UUIDv5 of *line* and the number of equal lines before it."""
        name = sha1(NAMESPACE.bytes + line, usedforsecurity=False)
        key = name.digest()
        name.update(b"\n%d" % self._seen[key])
        self._seen[key] += 1
        return UUID(bytes=name.digest()[:16], version=5)


def parse_lines(lines: Iterable[bytes]) -> Iterator[ImportLine]:
    """Parse *lines*, without empty ones.

    Raises:
        BadLineError: At the first line that cannot be appended, after those before it.
    """
    ids = EventIds()
    for number, raw in enumerate(lines, start=1):
        line = stripped(number, raw)
        if not line.strip():
            continue
        try:
            parsed = _parsed(number, line, ids)
        except (ValueError, TypeError) as error:
            raise BadLineError(number, str(error)) from error
        yield parsed


def _parsed(number: int, line: bytes, ids: EventIds) -> ImportLine:
    content = _content(line)
    given = {name: getattr(content, name) for name in _EVENT}
    if given["event_id"] is None:
        given["event_id"] = ids.of(line)
    event = EventData(**given)
    return ImportLine(number, len(line), check_stream_id(content.stream_id), event)


def _content(line: bytes) -> Any:
    value = decode_json(line)
    try:
        return msgspec.convert(value, _LINE)
    except msgspec.ValidationError as error:
        raise ValueError(_misfit(value) or str(error)) from error


def _misfit(value: Any) -> str | None:
    """Return what is wrong with the fields of *value*."""
    if not isinstance(value, dict):
        return f"a line must be a JSON object: {shown(value)}"
    for field in _FIELDS.values():
        if field.required and field.name not in value:
            return f"field {field.name!r} is missing"
    for name, content in value.items():
        if name not in _FIELDS:
            return f"unknown field {shown(name)}"
        kind = _FIELDS[name].type
        try:
            msgspec.convert(content, kind)
        except msgspec.ValidationError:
            return f"{name} must be {_IN_WORDS.get(kind, 'JSON')}: {shown(content)}"
    return None


def parts(lines: list[ImportLine]) -> list[tuple[str, ExpectedVersion, list[EventData]]]:
    """Return one run as `append_to_streams` takes it, stream by stream."""
    return [
        (stream_id, ExpectedVersion.ANY, [line.event for line in some])
        for stream_id, some in by_stream(lines)
    ]
