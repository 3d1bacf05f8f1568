"""The command that appends events."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from eventstore import AppendResult, EventData, EventStore
from eventstore.cli.failures import RefusedError, UsageError
from eventstore.cli.json_text import decode_json
from eventstore.cli.output import Output, printable

__all__ = ["append", "read_events"]

_STDIN = "-"


def read_events(
    event_type: str, data: str | None, metadata: str | None, event_id: UUID | None
) -> list[EventData]:
    """Return one event of *data*, or one of each line of the standard input.

    Raises:
        UsageError, ValueError: An argument is no JSON, or there is no data at all.
        RefusedError: A line is no JSON.
    """
    shared = {} if metadata is None else {"metadata": _argument("--metadata", metadata)}
    values = _values(data)
    if not values:
        raise UsageError("there is nothing to append: no line on the standard input")
    if event_id is None:
        return [EventData(event_type, value, **shared) for value in values]
    if len(values) > 1:
        raise UsageError(f"--event-id names one event, the standard input has {len(values)}")
    return [EventData(event_type, values[0], event_id=event_id, **shared)]


def _values(data: str | None) -> list[Any]:
    if data is not None and data != _STDIN:
        return [_argument("DATA", data)]
    if data is None and sys.stdin.isatty():
        raise UsageError("DATA is missing: give JSON, or '-' to type lines of it")
    return list(_lines())


def _argument(name: str, text: str) -> Any:
    try:
        return decode_json(text.encode())
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _lines() -> Iterator[Any]:
    for number, line in enumerate(sys.stdin.buffer, start=1):
        if not line.strip():
            continue
        try:
            yield decode_json(line)
        except ValueError as error:
            raise RefusedError(f"standard input, line {number}: {error}") from None


def append(
    store: EventStore,
    out: Output,
    *,
    stream_id: str,
    expected_version: int,
    events: list[EventData],
) -> None:
    """Append *events* to a stream, and print where they are."""
    result = store.append_to_stream(stream_id, expected_version, events)
    out.show(result, _text(result))


def _text(result: AppendResult) -> str:
    version = _range("version", result.first_version, result.last_version)
    position = _range("position", result.first_global_position, result.last_global_position)
    return f"{printable(result.stream_id)}: {version}, {position}"


def _range(name: str, first: int | None, last: int | None) -> str:
    return f"{name} {last}" if first == last else f"{name}s {first} to {last}"
