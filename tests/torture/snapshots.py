"""Snapshots under torture: a writer that records and reads them, and whether the newest wins."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from eventstore import EventStore, EventStoreError, SnapshotData, StorageUnavailableError
from tests.torture.journal import Entry, Journal

__all__ = ["Look", "Snapshooter", "broken_snapshots", "looks"]

_TYPE = "State"
_SHARE = 0.3
"""Probability of a snapshot after an append."""


class Snapshooter:
    """Records snapshots and reads them, and notes what it was told."""

    def __init__(self, store: EventStore, journal: Journal, rng: random.Random) -> None:
        self._store = store
        self._journal = journal
        self._rng = rng

    def snapshot_some(self, stream: str, newest: int, ids: Sequence[str]) -> None:
        """Record a stream at the last of events that surely are stored, or leave it.

        Then it is recorded at the first one, too, which must change nothing.
        """
        if self._rng.random() < _SHARE and self.record(stream, newest, ids[-1]):
            self.record(stream, newest + 1 - len(ids), ids[0])
            self._look(stream)

    def record(self, stream: str, version: int, state: str) -> bool:
        """Record a snapshot; return whether it surely is stored, or a newer one is."""
        try:
            self._store.record_snapshot(stream, version, SnapshotData(_TYPE, state))
        except StorageUnavailableError:
            return False
        except EventStoreError as error:
            self._journal.note("not recorded", stream=stream, error=repr(error))
            return False
        self._journal.note("recorded", stream=stream, version=version)
        return True

    def expect_none(self, stream: str) -> None:
        """Look for a snapshot of a stream that has none."""
        self._look(stream, none=True)

    def _look(self, stream: str, *, none: bool = False) -> None:
        look = uuid4().hex
        self._journal.note("looking", look=look)
        try:
            found = self._store.read_snapshot(stream, _TYPE)
        except StorageUnavailableError:
            return
        except EventStoreError as error:
            self._journal.note("not recorded", stream=stream, error=repr(error))
            return
        place = None if found is None else [found.stream_version, found.data]
        self._journal.note("looked", look=look, stream=stream, found=place, none=none)


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a snapshot, or a snapshot that was recorded."""

    stream_id: str
    at: float
    """When it began; of a snapshot, when it was recorded."""
    version: int = 0
    """Of the snapshot; 0: there was none."""
    state: str | None = None
    """The id of the event of that version, in a look."""
    is_look: bool = True
    wants_none: bool = False
    error: str | None = None


def looks(journal: Iterable[Entry]) -> list[Look]:
    """Return what one writer recorded and read."""
    found = []
    began: dict[str, float] = {}
    for entry in journal:
        at = entry["at"]
        match entry["what"]:
            case "looking":
                began[entry["look"]] = at
            case "looked":
                version, state = entry["found"] or (0, None)
                since, none = began[entry["look"]], entry["none"]
                found.append(Look(entry["stream"], since, version, state, wants_none=none))
            case "recorded":
                found.append(Look(entry["stream"], at, entry["version"], is_look=False))
            case "not recorded":
                found.append(Look(entry["stream"], at, error=entry["error"]))
    return found


def broken_snapshots(told: Sequence[Look], ids: Mapping[tuple[str, int], str]) -> Iterator[str]:
    """Yield what is wrong with the snapshots.

    Args:
        told: What the writers recorded and read.
        ids: The id of each stored event, by its stream and version.
    """
    newest: dict[str, int] = {}
    # In the order of time: what was recorded by then, a look that began afterwards has to find.
    for look in sorted(told, key=lambda look: look.at):
        if look.error is not None:
            yield f"{look}"
        elif look.wants_none:
            if look.version:
                yield f"of a stream that was deleted: {look}"
        elif not look.is_look:
            newest[look.stream_id] = max(newest.get(look.stream_id, 0), look.version)
        elif look.version < newest.get(look.stream_id, 0):
            yield f"version {newest[look.stream_id]} was recorded before: {look}"
        elif look.version and ids.get((look.stream_id, look.version)) != look.state:
            yield f"another event has this version: {look}"
