"""Deletions under torture: a writer that deletes streams and creates them again."""

from __future__ import annotations

import random
from collections.abc import Callable
from uuid import uuid4

from eventstore import (
    EventData,
    EventStore,
    EventStoreError,
    ExpectedVersion,
    OutcomeUnknownError,
    StorageUnavailableError,
    StreamDeletedError,
    StreamNotFoundError,
)
from tests.torture.deletions import DOOMED
from tests.torture.journal import Journal
from tests.torture.programs import Stopping
from tests.torture.snapshots import Snapshooter

__all__ = ["Deleter"]

Append = Callable[[list[tuple[str, int, list[EventData]]], int, Stopping], bool]
"""Appends up to so many times; returns whether the events surely are stored."""

_MOST_EVENTS = 20
_TIMEOUTS = [0.3, 1.0, 15.0]
_TRIES = 30


class Deleter:
    """Deletes streams, and notes every try and its result."""

    def __init__(
        self, store: EventStore, append: Append, journal: Journal, rng: random.Random
    ) -> None:
        self._store = store
        self._append = append
        self._journal = journal
        self._rng = rng
        self._snapshooter = Snapshooter(store, journal, rng)

    def do_something(self, stopping: Stopping) -> None:
        """Append to a doomed stream, delete one, close one, or take a snapshot to the grave."""
        act = self._rng.choices(
            [self._go_on, self._delete, self._close, self._begin_again], weights=[60, 20, 10, 10]
        )[0]
        act(stopping)

    def _go_on(self, stopping: Stopping) -> None:
        self._append_to(self._rng.choice(DOOMED), stopping)

    def _delete(self, stopping: Stopping) -> None:
        self._delete_stream(self._rng.choice(DOOMED), stopping, hard=True)

    def _close(self, stopping: Stopping) -> None:
        """Close a stream; nothing may be appended to it any more."""
        stream = f"closed-{uuid4()}"
        if self._append_to(stream, stopping) and self._delete_stream(stream, stopping, hard=False):
            self._append_to(stream, stopping)

    def _begin_again(self, stopping: Stopping) -> None:
        """Delete a stream with its snapshot; the next one of its name has none."""
        stream = f"doomed-{uuid4()}"
        if (
            self._append_to(stream, stopping)
            and self._snapshooter.record(stream, 1, "of the first stream")
            and self._delete_stream(stream, stopping, hard=True)
            and self._append_to(stream, stopping)
        ):
            self._snapshooter.expect_none(stream)

    def _append_to(self, stream: str, stopping: Stopping) -> bool:
        """Append a few events; return whether they surely are stored."""
        count = self._rng.randint(1, _MOST_EVENTS)
        events = [EventData("Written", {"nth": nth}) for nth in range(count)]
        return self._append([(stream, ExpectedVersion.ANY, events)], _TRIES, stopping)

    def _delete_stream(self, stream: str, stopping: Stopping, *, hard: bool) -> bool:
        """Delete a stream; return whether it surely was deleted by this call."""
        deletion = uuid4().hex
        for _ in range(_TRIES):
            if stopping.is_set():
                return False
            self._journal.note("deleting", deletion=deletion, stream=stream, hard=hard)
            timeout = self._rng.choice(_TIMEOUTS)
            try:
                self._store.delete_stream(stream, ExpectedVersion.ANY, hard=hard, timeout=timeout)
            except (OutcomeUnknownError, StorageUnavailableError):
                continue
            except (StreamNotFoundError, StreamDeletedError):
                # By somebody else, or by a try whose answer was lost.
                return False
            except EventStoreError as error:
                self._journal.note("not deleted", deletion=deletion, error=repr(error))
                return False
            self._journal.note("deleted", deletion=deletion)
            return True
        return False
