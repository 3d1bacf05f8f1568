"""A journal: one file of JSON lines per process, which survives ``kill -9``."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Entry", "Journal", "entries"]

Entry = dict[str, Any]


class Journal:
    """Writes notes at once, without a buffer; thread-safe."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._writing = threading.Lock()

    def note(self, what: str, **details: Any) -> None:
        """Write one line; ``at`` is the monotonic clock, which all processes of a machine share."""
        with self._writing:
            line = json.dumps({"what": what, "at": time.monotonic(), **details}) + "\n"
            os.write(self._file, line.encode())

    def close(self) -> None:
        os.close(self._file)


def entries(path: Path) -> Iterator[Entry]:
    """Yield the notes, oldest first, without a last one that a kill cut short."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)
