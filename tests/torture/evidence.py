"""What is known at the end: the notes of every process and the rows of the database. Pure."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from tests.torture.journal import Entry
from tests.torture.plan import Kind

__all__ = [
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


@dataclass(frozen=True, slots=True)
class StoredEvent:
    position: int
    stream_id: str
    version: int
    event_id: str


@dataclass(frozen=True, slots=True)
class Change:
    """An update of a subscription's row, as its trigger saw it."""

    name: str
    process: str
    """Who wrote it."""
    epoch_before: int
    epoch: int
    owner_before: str | None
    owner: str | None
    checkpoint_before: int
    checkpoint: int
    idle: float | None
    """Seconds since the lease before it was renewed."""
    at: float

    @property
    def is_claim(self) -> bool:
        return self.owner is not None and self.owner != self.owner_before


class Outcome(Enum):
    """What a writer knows of an attempt in the end."""

    STORED = "stored"
    NOT_STORED = "not stored"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Attempt:
    """An append to one or several streams, and what became of it."""

    ids: Mapping[str, Sequence[str]]
    outcome: Outcome = Outcome.NOT_STORED
    """Nothing was sent yet."""
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Per stream: the first version and the first position that were reported."""
    doubtful: bool = False
    """A try ended without an answer."""
    duplicate: bool = False
    stored_at: float | None = None
    began_at: float = 0.0
    timeout: float = 0.0
    overdue: float = 0.0
    """Most seconds that an answer came after its deadline."""

    @property
    def events(self) -> int:
        return sum(len(ids) for ids in self.ids.values())


class NoteKind(Enum):
    RUN = "run"
    RECEIVED = "received"
    ACKING = "acking"


@dataclass(frozen=True, slots=True)
class Note:
    """What one process noted about one subscription."""

    kind: NoteKind
    at: float
    events: tuple[tuple[int, str], ...] = ()
    """Position and id of each event that was received."""
    position: int = 0
    """What was acknowledged."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault that happened."""

    kind: Kind
    began: float
    ended: float
    """Of a runtime that was killed or replaced: when its successor was ready."""
    runtimes: frozenset[int]
    """The places of those that it kept from working."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the verdict goes by."""

    stored: Sequence[StoredEvent]
    attempts: Sequence[Attempt]
    subscriptions: Mapping[str, str]
    """The stream of each, by name."""
    notes: Mapping[tuple[str, str], Sequence[Note]]
    """By process and name of the subscription."""
    changes: Sequence[Change]
    checkpoints: Mapping[str, int]
    """As stored in the end, by name."""
    calm_since: float
    """When the last fault was over."""
    lease: float
    poll_interval: float
    runtimes: frozenset[int]
    """Their places: a runtime that was killed has a successor at the same place."""
    troubles: Sequence[Trouble] = ()
    incidents: Sequence[str] = ()
    """What nobody asked for: processes that ended, threads that crashed."""

    def expected(self, name: str) -> list[tuple[int, str]]:
        """Return position and id of every event that the subscription has to deliver."""
        stream_id = self.subscriptions[name]
        if stream_id == "$all":
            return [(event.position, event.event_id) for event in self.stored]
        return [(e.version, e.event_id) for e in self.stored if e.stream_id == stream_id]

    def notes_about(self, name: str) -> dict[str, Sequence[Note]]:
        """Return what each process noted about one subscription."""
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
    """Return what one reader noted, by subscription."""
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
