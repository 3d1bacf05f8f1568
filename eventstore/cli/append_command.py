"""The command that appends events."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from eventstore import AppendResult, Config, EventData, ExpectedVersion
from eventstore.cli.command import Command, event_id, expected_version
from eventstore.cli.failures import RefusedError, UsageError
from eventstore.cli.json_lines import BadLineError, bounded_lines, stripped
from eventstore.cli.json_text import decode_json
from eventstore.cli.output import Output, printable
from eventstore.cli.store_options import opened
from eventstore.client.appending import MAX_APPEND_BYTES

__all__ = ["APPEND"]

_STDIN = "-"

_EVENT_COST = 256
"""Bytes of memory that the smallest event takes, at least."""


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("stream", metavar="STREAM", help="id of the stream")
    parser.add_argument("event_type", metavar="TYPE", help="type of the event")
    parser.add_argument("data", metavar="DATA", nargs="?", help="its payload as JSON")
    parser.add_argument("--metadata", metavar="JSON", help="what goes beside the payload")
    parser.add_argument(
        "--expected-version",
        type=expected_version,
        default=ExpectedVersion.ANY,
        metavar="N",
        help="version the stream must be at: a number, any, no-stream or stream-exists;"
        " default: any",
    )
    parser.add_argument(
        "--event-id",
        type=event_id,
        metavar="UUID",
        help="makes a repeated append of the same event harmless",
    )


def _append(options: Namespace, config: Config, out: Output) -> None:
    """Append events to a stream, and print where they are stored.

    Bad data is refused before a database is needed.
    """
    events = _read_events(options.event_type, options.data, options.metadata, options.event_id)
    with opened(config, creates=True) as store:
        result = store.append_to_stream(options.stream, options.expected_version, events)
        out.show(result, _text(result))


def _read_events(
    event_type: str, data: str | None, metadata: str | None, event_id: UUID | None
) -> list[EventData]:
    """Return one event with *data*, or one per line of the standard input.

    Raises:
        UsageError, ValueError: An argument is not JSON, or there is no data.
        RefusedError: A line is not JSON.
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
    number = size = 0
    try:
        for number, raw in enumerate(bounded_lines(sys.stdin.buffer), start=1):
            line = stripped(number, raw)
            if not line.strip():
                continue
            size += len(line) + _EVENT_COST
            _check_size(size)
            yield decode_json(line)
    except BadLineError as error:
        raise RefusedError(f"standard input, {error}") from None
    except ValueError as error:
        raise RefusedError(f"standard input, line {number}: {error}") from None


def _check_size(size: int) -> None:
    if size > MAX_APPEND_BYTES:
        raise ValueError("too much for one append; 'eventstore import' takes any number of lines")


def _text(result: AppendResult) -> str:
    version = _range("version", result.first_version, result.last_version)
    position = _range("position", result.first_global_position, result.last_global_position)
    repeated = " (stored before)" if result.repeated else ""
    return f"{printable(result.stream_id)}: {version}, {position}{repeated}"


def _range(name: str, first: int | None, last: int | None) -> str:
    return f"{name} {last}" if first == last else f"{name}s {first} to {last}"


APPEND = Command(
    name="append",
    about="append events to a stream",
    details="""\
Without DATA, or with '-', each line of the standard input is the JSON data of one
event. All of them are appended together, or none.""",
    add_arguments=_add_arguments,
    run=_append,
)
