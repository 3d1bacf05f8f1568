"""The evidence for the verdict: the notes of every process, the rows of the database. Pure."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from tests.torture.deletions import Deletion, Erased, Request, is_doomed
from tests.torture.journal import Entry
from tests.torture.links import LINKED, Link
from tests.torture.parking import PREFIX, Handled, Parked, is_poison
from tests.torture.plan import Kind
from tests.torture.snapshots import Look

__all__ = [
    "OBSERVER",
    "Attempt",
    "Change",
    "Evidence",
    "Note",
    "NoteKind",
    "Outcome",
    "StoredEvent",
    "Trouble",
    "attempts",
]


OBSERVER = "observer"
"""Application name of the torture itself, which pauses and resets subscriptions."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    position: int
    stream_id: str
    version: int
    event_id: str


@dataclass(frozen=True, slots=True)
class Change:
    """An update of a subscription's row, as the trigger recorded it."""

    name: str
    process: str
    """The process that made the update."""
    epoch_before: int
    epoch: int
    owner_before: str | None
    owner: str | None
    checkpoint_before: int
    checkpoint: int
    idle: float | None
    """Seconds since the last renewal before the update."""
    at: float

    @property
    def is_claim(self) -> bool:
        return self.owner is not None and self.owner != self.owner_before

    @property
    def is_start_over(self) -> bool:
        """Whether it is what the deletion of the stream for good does."""
        went_back = self.epoch > self.epoch_before and self.checkpoint_before > self.checkpoint == 0
        return went_back and not self.is_claim and not self.is_reset

    @property
    def is_reset(self) -> bool:
        return self.process == OBSERVER and self.epoch > self.epoch_before


class Outcome(Enum):
    """The final result of an attempt, as the writer knows it."""

    STORED = "stored"
    NOT_STORED = "not stored"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Attempt:
    """An append to one or several streams, and its result."""

    ids: Mapping[str, Sequence[str]]
    outcome: Outcome = Outcome.NOT_STORED
    """At first nothing has been sent."""
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Per stream, the reported first version and first position."""
    doubtful: bool = False
    """A try ended without an answer."""
    duplicate: bool = False
    stored_at: float | None = None
    began_at: float = 0.0
    timeout: float = 0.0
    overdue: float = 0.0
    """Most seconds by which an answer came after its deadline."""

    @property
    def events(self) -> int:
        return sum(len(ids) for ids in self.ids.values())


class NoteKind(Enum):
    RUN = "run"
    RECEIVED = "received"
    ACKING = "acking"


@dataclass(frozen=True, slots=True)
class Note:
    """A note of one process about one subscription."""

    kind: NoteKind
    at: float
    events: tuple[tuple[int, str], ...] = ()
    """Position and id of each received event."""
    position: int = 0
    """The acknowledged position."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault that happened."""

    kind: Kind
    began: float
    ended: float
    """When it ended; for a killed or replaced runtime, when its successor was ready."""
    runtimes: frozenset[int]
    """The places of the runtimes that it kept from working."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the verdict is based on."""

    stored: Sequence[StoredEvent]
    attempts: Sequence[Attempt]
    subscriptions: Mapping[str, str]
    """The stream of each subscription, by its name."""
    notes: Mapping[tuple[str, str], Sequence[Note]]
    """Notes by process and name of the subscription."""
    changes: Sequence[Change]
    checkpoints: Mapping[str, int]
    """The stored checkpoints at the end, by name."""
    calm_since: float
    """When the last fault ended."""
    lease: float
    poll_interval: float
    runtimes: frozenset[int]
    """The places of the runtimes; a killed runtime has a successor at the same place."""
    links: Sequence[Link] = ()
    linked: Sequence[tuple[int, str]] = ()
    """Version and id of every event in the linked stream."""
    ruins: Sequence[tuple[int, str | None]] = ()
    """The same of the stream whose events may be gone; without an id there is no such event."""
    requests: Sequence[Request] = ()
    deletions: Sequence[Deletion] = ()
    closed: Sequence[str] = ()
    """Streams that are deleted, but not for good."""
    looks: Sequence[Look] = ()
    handled: Sequence[Handled] = ()
    """What was handled by the subscription that parks events."""
    parked: Sequence[Parked] = ()
    damage: Sequence[str] = ()
    """What `verify` finds."""
    troubles: Sequence[Trouble] = ()
    incidents: Sequence[str] = ()
    """Unplanned failures: processes that ended, threads that crashed."""

    def expected(self, name: str) -> list[tuple[int, str]]:
        """Return position and id of every event that the subscription has to deliver."""
        stream_id = self.subscriptions[name]
        if stream_id == "$all":
            return [(event.position, event.event_id) for event in self.stored]
        if stream_id == LINKED:
            return list(self.linked)
        return [(e.version, e.event_id) for e in self.stored if e.stream_id == stream_id]

    def may_be_parked(self) -> dict[int, str]:
        """Return the streams of what the subscription that parks events has to deliver."""
        # A broken build may have lost the stream of an event.
        found = {event.position: event.stream_id or "" for event in self.stored}
        return {place: stream for place, stream in found.items() if stream.startswith(PREFIX)}

    def hopeless(self) -> set[int]:
        """Return the positions of the events that were parked and fail for ever."""
        parked = {event.position for event in self.parked}
        return {
            event.position
            for event in self.stored
            if event.position in parked and is_poison(UUID(event.event_id), replay=True)
        }

    def erased(self) -> Erased:
        """Return where the events were that were deleted for good."""
        doomed = [one for one in self.attempts if any(map(is_doomed, one.ids))]
        reported = {
            position + n: event_id
            for attempt in doomed
            for stream_id, (_, position) in attempt.places.items()
            for n, event_id in enumerate(attempt.ids[stream_id])
        }
        sent = {
            event_id: stream_id
            for attempt in doomed
            for stream_id, ids in attempt.ids.items()
            for event_id in ids
        }
        return Erased(self.deletions, reported, sent)

    def notes_about(self, name: str) -> dict[str, Sequence[Note]]:
        """Return the notes about one subscription, by process."""
        return {process: notes for (process, n), notes in self.notes.items() if n == name}


def attempts(journal: Iterable[Entry]) -> list[Attempt]:
    """Return the attempts of one writer."""
    found: dict[str, Attempt] = {}
    for entry in journal:
        if entry["what"] == "attempt":
            found[entry["attempt"]] = Attempt(entry["ids"])
        elif "attempt" in entry:
            _follow(found[entry["attempt"]], entry)
    return list(found.values())


def _follow(attempt: Attempt, entry: Entry) -> None:
    what = entry["what"]
    if what == "trying":
        if attempt.outcome is not Outcome.STORED:
            attempt.outcome = Outcome.UNKNOWN
        attempt.began_at, attempt.timeout = entry["at"], entry["timeout"]
        return
    attempt.overdue = max(attempt.overdue, entry["at"] - attempt.began_at - attempt.timeout)
    match what:
        case "stored":
            attempt.outcome = Outcome.STORED
            attempt.stored_at = attempt.stored_at or entry["at"]
            attempt.places = {s: (first, at) for s, (first, at) in entry["places"].items()}
        case "refused":
            attempt.outcome = Outcome.NOT_STORED
        case "duplicate":
            attempt.duplicate = True
        case "unknown":
            attempt.doubtful = True
        case "unavailable" if not (attempt.doubtful or attempt.stored_at):
            attempt.outcome = Outcome.NOT_STORED


def notes(journal: Iterable[Entry]) -> dict[str, list[Note]]:
    """Return the notes of one reader, by subscription."""
    found: dict[str, list[Note]] = defaultdict(list)
    for entry in journal:
        match entry["what"]:
            case "run":
                found[entry["name"]].append(Note(NoteKind.RUN, entry["at"]))
            case "received":
                events = tuple((position, sys.intern(i)) for position, i in entry["events"])
                found[entry["name"]].append(Note(NoteKind.RECEIVED, entry["at"], events))
            case "acking":
                note = Note(NoteKind.ACKING, entry["at"], position=entry["position"])
                found[entry["name"]].append(note)
    return found
