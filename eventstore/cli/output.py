"""Print results: JSON lines for machines, text and tables for people."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from eventstore.model.events import RecordedEvent

__all__ = [
    "Column",
    "Output",
    "cells",
    "event_text",
    "fitted",
    "one_line",
    "printable",
    "printable_json",
]


def printable(text: str) -> str:
    """Return *text* with every character escaped that is not printable, as terminals obey some."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_json(text: str) -> str:
    """Return JSON *text* with such characters as escapes of JSON: its value stays the same."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Return *text* as one printable line; every run of whitespace becomes one space."""
    return printable(" ".join(text.split()))


def fitted(text: str, width: int) -> str:
    """Return *text* cut to *width* terminal columns; what was cut ends in an ellipsis."""
    if cells(text) <= width:
        return text
    kept, used = [], 0
    for character in text:
        used += _cells_of(character)
        if used >= width:
            break
        kept.append(character)
    return "".join(kept) + "…" if width > 0 else ""


def cells(text: str) -> int:
    """Return the number of terminal columns that *text* takes."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_POSITION_WIDTH = 7
_GAP = "  "


def event_text(
    event: RecordedEvent, *, with_stream: bool, width: int | None, in_colour: bool
) -> str:
    """Return one line: position, time, stream on request, type and payload, cut to *width*."""
    start = f"{event.position:>{_POSITION_WIDTH}}{_GAP}{event.created_at:%Y-%m-%d %H:%M:%SZ}"
    texts = [printable(event.event_type), _payload(event)]
    if with_stream:
        texts.insert(0, f"{printable(event.stream_id)}@{event.stream_version}")
    if width is not None:
        texts = _squeezed(texts, width - len(start) - len(_GAP))
    if in_colour:
        start = f"{_DIM}{start}{_PLAIN}"
        texts[-2] = f"{_BOLD}{texts[-2]}{_PLAIN}"
    return _GAP.join([start, *texts]).rstrip()


def _squeezed(texts: list[str], room: int) -> list[str]:
    """Cut *texts* to *room* columns: each takes at most half of the rest, the last one all."""
    squeezed = []
    for text in texts[:-1]:
        squeezed.append(fitted(text, max(room // 2, 1)))
        room -= cells(squeezed[-1]) + len(_GAP)
    return [*squeezed, fitted(texts[-1], room)]


def _payload(event: RecordedEvent) -> str:
    values = [event.data] if event.metadata is None else [event.data, event.metadata]
    return _GAP.join(printable(_text(value)) for value in values)


def _text(payload: Any) -> str:
    """Return a payload as JSON, or as it is if it was read raw."""
    if isinstance(payload, bytes):
        return payload.decode(errors="backslashreplace")
    return _encode(payload).decode()


_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    numeric: bool = False


class Output:
    """The standard output, as JSON lines or as text."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.width: int | None = None
        """Columns of the terminal; None if the output is not a terminal, and lines are not cut."""
        self.in_colour = False
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        if sys.stdout.isatty():
            self.width = shutil.get_terminal_size().columns
            self.in_colour = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def show(self, value: Any, text: str) -> None:
        """Print *value* as a line of JSON, or *text*."""
        if self.as_json:
            self.json(value)
        else:
            print(text)

    def json(self, value: Any) -> None:
        """Print *value* as a line of JSON, in UTF-8 whatever the locale."""
        line = _encode(value)
        if self.width is not None:
            line = printable_json(line.decode()).encode()
        sys.stdout.buffer.write(line + b"\n")

    def flush(self) -> None:
        """Write buffered output."""
        sys.stdout.flush()

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Print *rows* below titles. A terminal gets folded lines, a pipe gets whole ones.

        A terminal that is too narrow even for the titles gets a line per cell.
        """
        if self.width is not None and self.width < _least_width(columns, rows):
            _stacked(columns, rows, self.width)
        elif self.width is None or not _folded(columns, rows, colour=self.in_colour):
            _aligned(columns, rows)


def _least_width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    """Return the width of a table whose texts are folded to the width of their title."""
    widths = [
        max(cells(line[i]) for line in ([c.title for c in columns], *(rows if c.numeric else ())))
        for i, c in enumerate(columns)
    ]
    return sum(widths) + len(_GAP) * (len(columns) - 1)


def _stacked(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> None:
    """Print each cell on lines of its own, beside its title."""
    margin = max(cells(column.title) for column in columns) + len(_GAP)
    for number, row in enumerate(rows):
        if number:
            print()
        for column, text in zip(columns, row, strict=True):
            title = column.title
            for piece in _pieces(text, max(width - margin, 1)):
                print(f"{title:<{margin}}{piece}".rstrip())
                title = ""


def _pieces(text: str, width: int) -> Iterator[str]:
    """Cut *text* into pieces of *width* columns, one at least."""
    piece = ""
    for character in text:
        if piece and cells(piece) + _cells_of(character) > width:
            yield piece
            piece = ""
        piece += character
    yield piece


def _folded(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, colour: bool) -> bool:
    """Print the table with rich.

    Returns:
        False if rich is not installed; nothing was printed.
    """
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=column.numeric,
        )
    for row in rows:
        table.add_row(*map(Text, row))
    Console(no_color=not colour, highlight=False).print(table)
    return True


def _aligned(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print the table with each column as wide as its widest cell."""
    lines = [[column.title for column in columns], *rows]
    widths = [max(cells(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        padded = map(_padded, columns, line, widths)
        print("  ".join(padded).rstrip())


def _padded(column: Column, text: str, width: int) -> str:
    padding = " " * (width - cells(text))
    return padding + text if column.numeric else text + padding
