"""What a store is, said as simply as possible: a list of events. For `test_store_machine`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from eventstore import ExpectedVersion

__all__ = ["Duplicate", "Entry", "Model", "ModelSubscription", "Part", "Place", "Wrong"]

ALL = "$all"


class Entry(NamedTuple):
    """A stored event; its global position is its place in the list."""

    stream_id: str
    stream_version: int
    event_id: UUID


class Part(NamedTuple):
    """One stream's part of an append."""

    stream_id: str
    expected: int
    ids: tuple[UUID, ...]


class Place(NamedTuple):
    """Where a part went: versions and positions, first and last; None if only checked."""

    first_version: int | None
    last_version: int
    first_position: int | None
    last_position: int | None


class Wrong(NamedTuple):
    """Refused for the version of a stream."""

    stream_id: str
    actual: int


class Duplicate(NamedTuple):
    """Refused for an id that is stored elsewhere."""

    event_id: UUID


@dataclass
class Model:
    """Every event in commit order, and where each subscription stands."""

    log: list[Entry] = field(default_factory=list)
    subscriptions: dict[tuple[str, str], ModelSubscription] = field(default_factory=dict)

    def version(self, stream_id: str) -> int:
        return len(self.positions(stream_id))

    def positions(self, stream_id: str) -> list[int]:
        """Return the global positions of what a read or a subscription of *stream_id* sees."""
        numbered = enumerate(self.log, start=1)
        return [place for place, entry in numbered if stream_id in {entry.stream_id, ALL}]

    def append(self, parts: list[Part]) -> list[Place] | Wrong | Duplicate:
        runs = [self._run(part) for part in parts]
        if any(part.ids for part in parts) and all(
            run or not part.ids for part, run in zip(parts, runs, strict=True)
        ):
            return [run or self._checked(part) for part, run in zip(parts, runs, strict=True)]
        for part in parts:
            refusal = self._refusal(part)
            if refusal is not None:
                return refusal
        return [self._store(part) for part in parts]

    def _refusal(self, part: Part) -> Wrong | Duplicate | None:
        stored = {entry.event_id for entry in self.log}
        for event_id in part.ids:
            if event_id in stored:
                return Duplicate(event_id)
        version = self.version(part.stream_id)
        return None if _fits(part.expected, version) else Wrong(part.stream_id, version)

    def _run(self, part: Part) -> Place | None:
        """Return where the events of *part* are, if they are stored there in a row."""
        length = len(part.ids)
        for first in range(len(self.log) - length + 1) if length else ():
            run = self.log[first : first + length]
            if all(e.stream_id == part.stream_id for e in run) and part.ids == tuple(
                e.event_id for e in run
            ):
                return Place(
                    run[0].stream_version, run[-1].stream_version, first + 1, first + length
                )
        return None

    def _store(self, part: Part) -> Place:
        if not part.ids:
            return self._checked(part)
        version, head = self.version(part.stream_id), len(self.log)
        for number, event_id in enumerate(part.ids, start=version + 1):
            self.log.append(Entry(part.stream_id, number, event_id))
        return Place(version + 1, version + len(part.ids), head + 1, len(self.log))

    def _checked(self, part: Part) -> Place:
        return Place(None, self.version(part.stream_id), None, None)


def _fits(expected: int, version: int) -> bool:
    match expected:
        case ExpectedVersion.ANY:
            return True
        case ExpectedVersion.STREAM_EXISTS:
            return version > 0
        case _:
            return version == expected


@dataclass
class ModelSubscription:
    """Where one subscription stands, in positions of what it is subscribed to."""

    stream_id: str
    buffer_size: int
    checkpoint: int
    sent: int
    paused: bool = False

    def due(self, head: int) -> range:
        """Return the positions that must have been sent by now and were not received yet."""
        if self.paused:
            return range(0)
        end = min(head, self.checkpoint + self.buffer_size)
        return range(self.sent + 1, end + 1)
