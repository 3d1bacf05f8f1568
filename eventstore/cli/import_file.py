"""The lines of a file that may be compressed, or of the standard input."""

from __future__ import annotations

import gzip
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from eventstore.cli.failures import RefusedError, UsageError

__all__ = ["Lines", "opened_lines"]

_STDIN = "-"
_GZIP = b"\x1f\x8b"


class Lines:
    """Lines of bytes, and how far reading them has come."""

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.name = name
        self._raw = raw
        self._text = _uncompressed(raw)

    @property
    def size(self) -> int | None:
        """Bytes of the file; None if it is no file."""
        status = os.fstat(self._raw.fileno())
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    @property
    def place(self) -> int:
        """Bytes of the file read so far."""
        return self._raw.tell()

    def __iter__(self) -> Iterator[bytes]:
        """Return line after line.

        Raises:
            RefusedError: The file cannot be read to its end.
        """
        try:
            yield from self._text
        except (OSError, EOFError, zlib.error) as error:
            raise RefusedError(f"cannot read {self.name} to its end: {error}") from error


def _uncompressed(raw: BinaryIO) -> BinaryIO:
    """Return *raw*, or what is in it if it starts as gzip does, whatever its name."""
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
