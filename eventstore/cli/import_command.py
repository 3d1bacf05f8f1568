"""The command that appends a file of events. It can be repeated after any interruption."""

from __future__ import annotations

import gzip
import os
import stat
import sys
import textwrap
import time
import zlib
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from eventstore import (
    AppendError,
    Config,
    EventStore,
    SerializationError,
    StreamDeletedError,
)
from eventstore.cli.command import Command
from eventstore.cli.failures import RefusedError, UsageError
from eventstore.cli.import_lines import MAX_COMMIT_LINES, OPTIONAL, ImportLine, parse_lines, parts
from eventstore.cli.json_lines import BadLineError, bounded_lines
from eventstore.cli.output import Output
from eventstore.cli.store_options import opened
from eventstore.client.runs import halves, runs

__all__ = ["IMPORT", "Lines", "opened_lines", "progress"]

_STDIN = "-"
_GZIP = b"\x1f\x8b"


class Lines:
    """The lines of a file, and how much of it has been read."""

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.name = name
        self._raw = raw
        self._text = _uncompressed(raw)

    @property
    def size(self) -> int | None:
        """Size of the file in bytes; None if it is not a regular file."""
        status = os.fstat(self._raw.fileno())
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    @property
    def place(self) -> int:
        """Number of bytes of the file read so far."""
        return self._raw.tell()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines.

        Raises:
            RefusedError: The file cannot be read to its end, or a line is too long.
        """
        try:
            yield from bounded_lines(self._text)
        except (OSError, EOFError, zlib.error) as error:
            raise RefusedError(f"cannot read {self.name} to its end: {error}") from error


def _uncompressed(raw: BinaryIO) -> BinaryIO:
    """Return *raw*, decompressed if its first bytes are those of gzip."""
    peeked = raw.peek(len(_GZIP))  # type: ignore[attr-defined]
    return cast(BinaryIO, gzip.open(raw)) if peeked.startswith(_GZIP) else raw


@contextmanager
def opened_lines(file: str) -> Iterator[Lines]:
    """Open *file*, or the standard input for ``-``.

    Raises:
        UsageError: It cannot be opened.
    """
    if file == _STDIN:
        yield Lines(sys.stdin.buffer, "the standard input")
        return
    try:
        raw = open(file, "rb")  # noqa: SIM115, PTH123 - closed below, and no error of the caller's
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot open {file!r}: {getattr(error, 'strerror', error)}") from error
    with raw:
        yield Lines(raw, repr(file))


Advance = Callable[[int], None]
"""Called after every commit with the number of lines done."""


@contextmanager
def progress(source: Lines) -> Iterator[Advance]:
    """Show a progress bar on the standard error if it is a terminal and rich is installed."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        yield _nothing
        return
    columns = (
        TextColumn("importing"),
        BarColumn(),
        TextColumn("{task.fields[lines]:,} lines"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("importing", total=source.size, lines=0)

        def advance(lines: int) -> None:
            completed = 0 if source.size is None else source.place
            bar.update(task, completed=completed, lines=lines)

        yield advance


def _nothing(_lines: int) -> None:
    return


_REFUSED = (AppendError, SerializationError, StreamDeletedError, ValueError)


@dataclass(slots=True)
class _Tally:
    """Counts the lines that were appended, and those of them that were stored now."""

    lines: int = 0
    stored: int = 0

    def add(self, lines: int, *, repeated: bool) -> None:
        self.lines += lines
        self.stored += 0 if repeated else lines


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="may be gzipped; '-' is the standard input")


def _import(options: Namespace, config: Config, out: Output) -> None:
    """Append every line of a file, in order, many in one commit; ``-`` is the standard input.

    Raises:
        UsageError: The file cannot be opened.
        BadLineError: A line cannot be stored. The lines before it are stored.
    """
    with opened_lines(options.file) as source, opened(config, creates=True) as store:
        _append(source, store, out)


def _append(source: Lines, store: EventStore, out: Output) -> None:
    tally = _Tally()
    began = time.monotonic()
    try:
        with progress(source) as advance:
            for run in runs(parse_lines(source), MAX_COMMIT_LINES):
                _store(store, run, tally)
                advance(tally.lines)
    finally:
        _summarise(out, tally, time.monotonic() - began)


def _store(store: EventStore, lines: list[ImportLine], tally: _Tally) -> None:
    """Append *lines* together; if that is refused, in halves, down to the line at fault.

    Raises:
        BadLineError: The store refuses a line. The lines before it are stored.
    """
    try:
        results = store.append_to_streams(parts(lines))
    except _REFUSED as error:
        if len(lines) == 1:
            raise BadLineError(lines[0].number, str(error)) from error
        for half in halves(lines):
            _store(store, half, tally)
    else:
        tally.add(len(lines), repeated=results[0].repeated)


def _summarise(out: Output, tally: _Tally, seconds: float) -> None:
    already = tally.lines - tally.stored
    summary = {"lines": tally.lines, "stored": tally.stored, "already_stored": already}
    known = f", {already:,} were stored already" if already else ""
    rate = f" ({tally.stored / seconds:,.0f} events/s)" if tally.stored and seconds else ""
    out.show(summary, f"{tally.stored:,} events stored{known}{rate}")


_LINE = (
    "Each line is a JSON object: stream_id, event_type and data; optional are"
    f" {', '.join(OPTIONAL[:-1])} and {OPTIONAL[-1]}."
    " What 'eventstore read --json' prints is such a file."
)

_FORMAT = f"""\
{textwrap.fill(_LINE, 98)}

An import that was interrupted is simply run again: what is stored already is found by its event
id, and nothing is stored twice. A line without an event_id gets one that follows from its bytes
and from how many equal lines came before it, so an equal line of another file counts as stored,
too: lines that are to be stored again need an event_id or a created_at of their own."""

IMPORT = Command(
    name="import",
    about="append the events of a file of JSON lines",
    details=_FORMAT,
    add_arguments=_add_arguments,
    run=_import,
)
