"""Read lines of JSON from a file, one at a time, each bounded in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from eventstore.cli.failures import RefusedError
from eventstore.client.codec import MAX_EVENT_BYTES

__all__ = ["MAX_LINE_BYTES", "BadLineError", "bounded_lines", "stripped"]

MAX_LINE_BYTES = MAX_EVENT_BYTES + 64 * 1024
"""Most bytes of a line: the largest event, and the names around it."""

_BOM = b"\xef\xbb\xbf"


class BadLineError(RefusedError):
    """A line cannot be used. The lines before it can."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number}: {reason}")
        self.number = number
        """Number of the line, 1-based."""


def bounded_lines(file: BinaryIO, most: int = MAX_LINE_BYTES) -> Iterator[bytes]:
    """Yield the lines of *file*. Nothing beyond *most* bytes of a line is ever read.

    Raises:
        BadLineError: A line is longer.
    """
    number = 0
    while line := file.readline(most + 1):
        number += 1
        if len(line) > most and not line.endswith(b"\n"):
            raise BadLineError(number, f"longer than {most:,} bytes, more than an event can have")
        yield line


def stripped(number: int, line: bytes) -> bytes:
    """Return *line* without its end and, if it is the first, without a byte order mark."""
    return (line.removeprefix(_BOM) if number == 1 else line).rstrip(b"\r\n")
