"""The command that appends a file of events, and can be run again after any interruption."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from eventstore import (
    AppendError,
    AppendResult,
    EventStore,
    SerializationError,
    StreamDeletedError,
)
from eventstore.cli.import_file import opened_lines
from eventstore.cli.import_lines import BadLineError, ImportLine, commits, parse_lines, parts
from eventstore.cli.output import Output
from eventstore.cli.progress import progress
from eventstore.model.names import ALL_STREAMS

__all__ = ["import_file"]

_REFUSED = (AppendError, SerializationError, StreamDeletedError, ValueError)


@dataclass(slots=True)
class _Tally:
    """What became of the lines."""

    head: int
    """Newest position seen; what is stored now lies beyond it, what was there before does not."""
    lines: int = 0
    stored: int = 0

    def add(self, lines: int, results: Iterable[AppendResult]) -> None:
        self.lines += lines
        for result in results:
            assert result.first_global_position is not None, "every part has events"
            assert result.last_global_position is not None, "every part has events"
            if result.last_global_position > self.head:
                self.stored += result.last_global_position - result.first_global_position + 1
                self.head = result.last_global_position


def import_file(store: EventStore, out: Output, *, file: str) -> None:
    """Append every line of *file*, in order, many in one commit; ``-`` is the standard input.

    Raises:
        UsageError: The file cannot be opened.
        BadLineError: A line cannot be stored. What came before it is.
    """
    tally = _Tally(store.stream_info(ALL_STREAMS).stream_version)
    began = time.monotonic()
    with opened_lines(file) as source:
        try:
            with progress(source) as advance:
                for run in commits(parse_lines(source)):
                    _store(store, run, tally)
                    advance(tally.lines)
        finally:
            _summarise(out, tally, time.monotonic() - began)


def _store(store: EventStore, lines: list[ImportLine], tally: _Tally) -> None:
    """Append *lines* together; if that is refused, in halves, down to the line that is to blame.

    So it is also found out what of them is stored already, if an earlier import cut them
    differently.

    Raises:
        BadLineError: The store refuses a line. Those before it are stored.
    """
    try:
        results = store.append_to_streams(parts(lines))
    except _REFUSED as error:
        if len(lines) == 1:
            raise BadLineError(lines[0].number, str(error)) from error
        middle = len(lines) // 2
        _store(store, lines[:middle], tally)
        _store(store, lines[middle:], tally)
    else:
        tally.add(len(lines), results)


def _summarise(out: Output, tally: _Tally, seconds: float) -> None:
    already = tally.lines - tally.stored
    summary = {"lines": tally.lines, "stored": tally.stored, "already_stored": already}
    known = f", {already:,} were stored already" if already else ""
    rate = f" ({tally.stored / seconds:,.0f} events/s)" if tally.stored and seconds else ""
    out.show(summary, f"{tally.stored:,} events stored{known}{rate}")
