"""Shared by the writer and reader programs: arguments, signals, connecting with retries."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eventstore import Config, EventStore, EventStoreError
from tests.torture.journal import Journal

__all__ = ["Stopping", "arguments", "connected", "end_on_sigterm"]

Stopping = threading.Event


def arguments() -> tuple[Journal, dict[str, Any], int, int]:
    """Read the command line: journal, settings, place, seed."""
    _, path, settings, index, seed = sys.argv
    journal = Journal(Path(path))
    journal.note("begin", pid=os.getpid())
    threading.excepthook = lambda crash: journal.note("crashed", error=repr(crash.exc_value))
    return journal, json.loads(settings), int(index), int(seed)


def end_on_sigterm(stopping: Stopping) -> None:
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())


@contextmanager
def connected(
    settings: dict[str, Any], journal: Journal, stopping: Stopping
) -> Iterator[EventStore]:
    """Connect, with retries until the server can be reached; close at the end of the block."""
    while True:
        try:
            store = EventStore.connect(Config(**settings))
            break
        except EventStoreError as error:
            journal.note("not connected", error=str(error))
            if stopping.wait(0.2):
                sys.exit()
    with store:
        yield store
