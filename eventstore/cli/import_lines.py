"""Lines of an import: what they must hold, the ids they get, the commits they share. Pure.

An import that was interrupted is run again from the start: the same lines get the same event ids
and form the same commits, and an append that is repeated stores nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha1
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from eventstore.cli.failures import RefusedError
from eventstore.cli.json_text import decode_as, decode_json
from eventstore.model.events import EventData, ExpectedVersion
from eventstore.model.names import check_stream_id, shown

__all__ = ["BadLineError", "EventIds", "ImportLine", "commits", "parse_lines", "parts"]

NAMESPACE = UUID("0b791f6f-a8dd-493e-8051-7218aee31098")
"""Of the UUIDv5 of lines without an event id; another one would import everything twice."""

MAX_COMMIT_LINES = 1_000
MAX_COMMIT_BYTES = 4 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"


class BadLineError(RefusedError):
    """A line cannot be imported. Those before it were."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number}: {reason}")
        self.number = number
        """Counted from 1."""


@dataclass(frozen=True, slots=True)
class ImportLine:
    """A line that can be appended."""

    number: int
    size: int
    """Bytes."""
    stream_id: str
    event: EventData


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    stream_id: str
    event_type: str
    data: Any
    metadata: Any = None
    event_id: UUID | None = None
    causation_id: UUID | None = None
    correlation_id: UUID | None = None
    created_at: datetime | None = None
    # What `read --json` prints beside; the store gives its own.
    stream_version: int | None = None
    global_position: int | None = None
    position: int | None = None


_decoder = msgspec.json.Decoder(_Content)

_TEXT = (str, "text")
_UUID = (UUID | None, "a UUID")
_TIME = (datetime | None, "a time of ISO 8601")
_NUMBER = (int | None, "a whole number")

_FIELDS: dict[str, tuple[Any, str]] = {
    "stream_id": _TEXT,
    "event_type": _TEXT,
    "data": (Any, "JSON"),
    "metadata": (Any, "JSON"),
    "event_id": _UUID,
    "causation_id": _UUID,
    "correlation_id": _UUID,
    "created_at": _TIME,
    "stream_version": _NUMBER,
    "global_position": _NUMBER,
    "position": _NUMBER,
}
"""The fields of `_Content`: their types, and the types in words."""

_REQUIRED = ("stream_id", "event_type", "data")


class EventIds:
    """The ids of lines that bring none.

    Keeps 20 bytes, about 150 with Python's own, of each distinct line.
    """

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def of(self, line: bytes) -> UUID:
        """Return the UUIDv5 of *line* and its ordinal among equal lines, counted from 0."""
        name = sha1(NAMESPACE.bytes + line, usedforsecurity=False)
        key = name.digest()
        name.update(b"\n%d" % self._seen[key])
        self._seen[key] += 1
        return UUID(bytes=name.digest()[:16], version=5)


def parse_lines(lines: Iterable[bytes]) -> Iterator[ImportLine]:
    """Read *lines*; empty ones are skipped.

    Raises:
        BadLineError: At the first line that cannot be appended, after those before it.
    """
    ids = EventIds()
    for number, raw in enumerate(lines, start=1):
        line = (raw.removeprefix(_BOM) if number == 1 else raw).rstrip(b"\r\n")
        if not line.strip():
            continue
        try:
            parsed = _parsed(number, line, ids)
        except (ValueError, TypeError) as error:
            raise BadLineError(number, str(error)) from error
        yield parsed


def _parsed(number: int, line: bytes, ids: EventIds) -> ImportLine:
    content = _content(line)
    event = EventData(
        content.event_type,
        content.data,
        content.metadata,
        event_id=ids.of(line) if content.event_id is None else content.event_id,
        causation_id=content.causation_id,
        correlation_id=content.correlation_id,
        created_at=content.created_at,
    )
    return ImportLine(number, len(line), check_stream_id(content.stream_id), event)


def _content(line: bytes) -> _Content:
    try:
        return decode_as(_decoder, line)
    except msgspec.ValidationError as error:
        raise ValueError(_misfit(decode_json(line)) or str(error)) from error


def _misfit(value: Any) -> str | None:
    """Return what is wrong with the fields of *value*; None for a field that is given twice."""
    if not isinstance(value, dict):
        return f"a line must be a JSON object: {shown(value)}"
    for name in _REQUIRED:
        if name not in value:
            return f"field {name!r} is missing"
    for name, content in value.items():
        if name not in _FIELDS:
            return f"unknown field {shown(name)}"
        kind, words = _FIELDS[name]
        try:
            msgspec.convert(content, kind)
        except msgspec.ValidationError:
            return f"{name} must be {words}: {shown(content)}"
    return None


def commits(lines: Iterable[ImportLine]) -> Iterator[list[ImportLine]]:
    """Cut *lines* into runs that can be stored in one append without changing their order.

    Within a run no stream comes back after another one came between. A run is bounded in lines
    and in bytes; what is cut depends on the lines alone. If *lines* raises, what came before is
    returned first.
    """
    run = _Run()
    try:
        for line in lines:
            if not run.takes(line):
                yield run.lines
                run = _Run()
            run.add(line)
    except Exception:
        if run.lines:
            yield run.lines
        raise
    if run.lines:
        yield run.lines


class _Run:
    def __init__(self) -> None:
        self.lines: list[ImportLine] = []
        self._streams: set[str] = set()
        self._size = 0

    def takes(self, line: ImportLine) -> bool:
        if not self.lines:
            return True
        return (
            len(self.lines) < MAX_COMMIT_LINES
            and self._size + line.size <= MAX_COMMIT_BYTES
            and (line.stream_id == self.lines[-1].stream_id or line.stream_id not in self._streams)
        )

    def add(self, line: ImportLine) -> None:
        self.lines.append(line)
        self._streams.add(line.stream_id)
        self._size += line.size


def parts(lines: list[ImportLine]) -> list[tuple[str, ExpectedVersion, list[EventData]]]:
    """Return the append of one run, stream by stream, as `append_to_streams` takes it."""
    return [
        (stream_id, ExpectedVersion.ANY, [line.event for line in run])
        for stream_id, run in groupby(lines, key=attrgetter("stream_id"))
    ]
