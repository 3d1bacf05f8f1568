"""The demo's output: coloured on a terminal, plain text in a file or a pipe."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Self, TextIO

__all__ = ["Bar", "Screen"]

Row = Sequence[str]

_BAR = 30
_REDRAW = 0.1


class Style(StrEnum):
    """Terminal codes."""

    HEADING = "\x1b[1m"
    NAME = "\x1b[36m"
    GOOD = "\x1b[1;32m"
    BAD = "\x1b[1;31m"
    FAINT = "\x1b[2m"


_PLAIN = "\x1b[0m"
_CLEAR_LINE = "\r\x1b[K"


class Screen:
    """Writes lines of at most 80 columns."""

    def __init__(self, out: TextIO, *, terminal: bool) -> None:
        self._out = out
        self._terminal = terminal

    @classmethod
    def of_stdout(cls) -> Self:
        dumb = os.environ.get("TERM", "dumb") == "dumb" or "NO_COLOR" in os.environ
        return cls(sys.stdout, terminal=sys.stdout.isatty() and not dumb)

    def line(self, text: str = "") -> None:
        self._write(f"{text}\n")

    def heading(self, text: str) -> None:
        self.line(f"\n{self._styled(text, Style.HEADING)}")

    def fact(self, name: str, text: str) -> None:
        """Write *name* and *text* beside it; further lines of *text* are aligned below."""
        first, *others = text.split("\n")
        self.line(f"  {self._styled(f'{name:<9}', Style.NAME)}  {first}")
        for other in others:
            self.line(f"  {'':<9}  {other}")

    def good(self, text: str) -> None:
        self.line(self._styled(text, Style.GOOD))

    def bad(self, text: str) -> None:
        self.line(self._styled(text, Style.BAD))

    @contextmanager
    def bar(self, name: str, total: int) -> Iterator[Bar]:
        """Show a progress bar while the block runs; only on a terminal."""
        try:
            yield Bar(self, name, total)
        finally:
            if self._terminal:
                self._write(_CLEAR_LINE)

    def draw(self, name: str, done: int, total: int, text: str) -> None:
        if self._terminal:
            filled = _BAR * done // max(total, 1)
            bar = "━" * filled + self._styled("━" * (_BAR - filled), Style.FAINT)
            self._write(f"{_CLEAR_LINE}  {self._styled(f'{name:<9}', Style.NAME)}  {bar} {text}")

    def table(self, names: Row, rows: Sequence[Row]) -> None:
        """Write a table: the first column aligned left, the others right."""
        widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
        self.line(self._styled(_aligned(names, widths), Style.NAME))
        for row in rows:
            self.line(_aligned(row, widths))

    def _styled(self, text: str, style: Style) -> str:
        return f"{style}{text}{_PLAIN}" if self._terminal else text

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class Bar:
    """The progress of one task."""

    def __init__(self, screen: Screen, name: str, total: int) -> None:
        self._screen = screen
        self._name = name
        self._total = total
        self._begun = self._drawn = time.monotonic()

    def show(self, done: int) -> None:
        """Redraw the bar, at most ten times a second."""
        now = time.monotonic()
        if now - self._drawn < _REDRAW:
            return
        self._drawn = now
        rate = done / (now - self._begun)
        text = f"{done:,} of {self._total:,}, {rate:,.0f}/s"
        self._screen.draw(self._name, done, self._total, text)


def _aligned(row: Row, widths: Sequence[int]) -> str:
    first, *others = zip(row, widths, strict=True)
    numbers = (text.rjust(width) for text, width in others)
    return "  " + "  ".join([first[0].ljust(first[1]), *numbers])
