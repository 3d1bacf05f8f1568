"""What a command prints: lines of JSON for machines, text and tables for people."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from eventstore.cli.text import cells

__all__ = ["Column", "Output"]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    numeric: bool = False


class Output:
    """The standard output in the form that was asked for."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.width: int | None = None
        """Columns of the terminal; None if it is none, and nothing is cut then."""
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
        sys.stdout.buffer.write(_encode(value) + b"\n")

    def flush(self) -> None:
        """Let the reader have what was printed."""
        sys.stdout.flush()

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Print *rows* under titles: folded to the width of a terminal, never in a pipe."""
        if self.width is None or not _folded(columns, rows, colour=self.in_colour):
            _aligned(columns, rows)


def _folded(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, colour: bool) -> bool:
    """Print with rich; return False if it is not installed."""
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
    """Print in columns as wide as their widest cell."""
    lines = [[column.title for column in columns], *rows]
    widths = [max(cells(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        padded = map(_padded, columns, line, widths)
        print("  ".join(padded).rstrip())


def _padded(column: Column, text: str, width: int) -> str:
    padding = " " * (width - cells(text))
    return padding + text if column.numeric else text + padding
