"""Judges the evidence: finds every broken guarantee. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from tests.torture.evidence import Attempt, Change, Evidence, Note, NoteKind, Outcome, StoredEvent
from tests.torture.takeovers import takeovers

__all__ = ["Bounds", "Broken", "Violation", "stalls", "verdict"]


class Broken(StrEnum):
    """A broken guarantee."""

    LOST_APPEND = "a reported append is not stored as reported (G5)"
    STORED_TWICE = "an event is stored twice (G6)"
    GHOST = "an event is stored that was refused, or never appended (G1)"
    TORN = "an append is stored in part (G1, G9)"
    HOLE = "positions or versions have gaps or disagree (G3)"
    DUPLICATE = "a retry with the same ids was refused (G6)"
    OVERDUE = "a call outlived its deadline (G25)"
    UNDELIVERED = "a committed event was never delivered (G13)"
    WRONG_EVENT = "the delivered event is not the one stored at its position (G10)"
    DISORDER = "a delivery run is not in order from its checkpoint (G14)"
    UNACKNOWLEDGED = "a checkpoint covers an event that was not acknowledged (G15)"
    BACKWARDS = "a checkpoint went back within an epoch (G16)"
    TWO_OWNERS = "an acknowledgement counted though its process was not the owner (G16)"
    UNDEAD = "a deleted subscription came back (G16)"
    BEHIND = "a subscription did not catch up (G32)"
    STALLED = "a subscription stalled after the last fault (G23, G27)"
    LATE_TAKEOVER = "a takeover came later than promised (G27)"
    INCIDENT = "a process failed by itself (G24)"


@dataclass(frozen=True, slots=True)
class Violation:
    broken: Broken
    details: str

    def __str__(self) -> str:
        return f"{self.broken}: {self.details}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds in seconds, with room for a busy machine."""

    stall: float = 5.0
    """Longest stop of a subscription with events to deliver, after the last fault: that may cost a
    takeover, and a subscriber may hang until its `ack_timeout`."""
    handover: float = 1.0
    """Promised time from a release to the next claim; after an expiry it is `poll_interval`."""
    room: float = 1.0
    """Tolerance for a takeover beyond the promised time."""
    overdue: float = 3.0
    """Most seconds that an append may take beyond its deadline."""


def verdict(evidence: Evidence, bounds: Bounds = Bounds()) -> list[Violation]:
    """Return every violation of a guarantee."""
    found = [Violation(Broken.INCIDENT, incident) for incident in evidence.incidents]
    found += _judge_orders(evidence.stored)
    found += _judge_attempts(evidence, bounds)
    for name in evidence.subscriptions:
        found += _judge_deliveries(evidence, name)
        found += _judge_checkpoints(evidence, name)
        found += _judge_stall(evidence, name, bounds)
    found += _judge_takeovers(evidence, bounds)
    found += [
        Violation(Broken.UNDEAD, name)
        for name in sorted(evidence.checkpoints.keys() - evidence.subscriptions.keys())
    ]
    return found


# ── what is stored ───────────────────────────────────────────────────────────────────────────────


def _judge_orders(stored: Sequence[StoredEvent]) -> Iterator[Violation]:
    versions: Counter[str] = Counter()
    for place, event in enumerate(stored, start=1):
        versions[event.stream_id] += 1
        if (event.position, event.version) != (place, versions[event.stream_id]):
            wanted = f"wanted {place} and version {versions[event.stream_id]}"
            yield Violation(Broken.HOLE, f"{event}, {wanted}")
            return
    twice = [i for i, count in Counter(event.event_id for event in stored).items() if count > 1]
    if twice:
        yield Violation(Broken.STORED_TWICE, f"{twice[:3]}")


def _judge_attempts(evidence: Evidence, bounds: Bounds) -> Iterator[Violation]:
    by_id = {event.event_id: event for event in evidence.stored}
    known = {i for attempt in evidence.attempts for ids in attempt.ids.values() for i in ids}
    if strangers := by_id.keys() - known:
        yield Violation(Broken.GHOST, f"nobody appended {sorted(strangers)[:3]}")
    for attempt in evidence.attempts:
        yield from _judge_attempt(attempt, by_id)
        if attempt.duplicate:
            yield Violation(Broken.DUPLICATE, f"{attempt}")
        if attempt.overdue > bounds.overdue:
            yield Violation(Broken.OVERDUE, f"by {attempt.overdue:.1f} s: {attempt}")


def _judge_attempt(attempt: Attempt, by_id: Mapping[str, StoredEvent]) -> Iterator[Violation]:
    present = sum(i in by_id for ids in attempt.ids.values() for i in ids)
    match attempt.outcome:
        case Outcome.NOT_STORED if present:
            yield Violation(Broken.GHOST, f"{attempt}")
        case Outcome.STORED if present < attempt.events or not _is_as_reported(attempt, by_id):
            yield Violation(Broken.LOST_APPEND, f"{attempt}")
        case Outcome.UNKNOWN if present and not _is_whole(attempt, by_id):
            yield Violation(Broken.TORN, f"{attempt}")


def _is_as_reported(attempt: Attempt, by_id: Mapping[str, StoredEvent]) -> bool:
    if attempt.places.keys() != attempt.ids.keys():
        return False
    return all(
        by_id[event_id] == StoredEvent(position + n, stream, version + n, event_id)
        for stream, (version, position) in attempt.places.items()
        for n, event_id in enumerate(attempt.ids[stream])
    )


def _is_whole(attempt: Attempt, by_id: Mapping[str, StoredEvent]) -> bool:
    """Return whether all of *attempt* is stored, each stream's part without a gap."""
    for stream, ids in attempt.ids.items():
        if not all(i in by_id for i in ids):
            return False
        first = by_id[ids[0]]
        for n, event_id in enumerate(ids):
            wanted = StoredEvent(first.position + n, stream, first.version + n, event_id)
            if by_id[event_id] != wanted:
                return False
    return True


# ── what was delivered ───────────────────────────────────────────────────────────────────────────


def _judge_deliveries(evidence: Evidence, name: str) -> Iterator[Violation]:
    expected = dict(evidence.expected(name))
    delivered: set[int] = set()
    for process, notes in evidence.notes_about(name).items():
        received = [pair for note in notes for pair in note.events]
        wrong = [pair for pair in received if expected.get(pair[0]) != pair[1]]
        if wrong:
            yield Violation(Broken.WRONG_EVENT, f"{name} in {process}: {wrong[:3]}")
        delivered.update(position for position, _ in received)
        claims = {
            change.checkpoint
            for change in evidence.changes
            if change.name == name and change.process == process and change.is_claim
        }
        yield from _judge_runs(name, process, notes, claims)
    if missing := sorted(expected.keys() - delivered):
        yield Violation(Broken.UNDELIVERED, f"{name}: {len(missing)}, from {missing[0]}")


def _judge_runs(
    name: str, process: str, notes: Sequence[Note], claims: set[int]
) -> Iterator[Violation]:
    """Check that each batch continues the one before, or starts a run.

    A run starts at the checkpoint of a claim, or after a position that the process acknowledged.
    Functions are not told of new runs, so any batch of theirs may start one.
    """
    is_told = any(note.kind is NoteKind.RUN for note in notes)
    starts, may_start, after = set(claims), not is_told, -1
    for note in notes:
        match note.kind:
            case NoteKind.RUN:
                may_start = True
            case NoteKind.ACKING:
                starts.add(note.position)
            case NoteKind.RECEIVED:
                positions = [position for position, _ in note.events]
                before = positions[0] - 1
                goes_on = before == after or (may_start and before in starts)
                if not goes_on or positions != list(range(before + 1, before + 1 + len(positions))):
                    yield Violation(
                        Broken.DISORDER, f"{name} in {process}: {positions[:5]} after {after}"
                    )
                after, may_start = positions[-1], not is_told
            case _:
                assert_never(note.kind)


# ── what was acknowledged ────────────────────────────────────────────────────────────────────────


def _judge_checkpoints(evidence: Evidence, name: str) -> Iterator[Violation]:
    expected = evidence.expected(name)
    head = expected[-1][0] if expected else 0
    if evidence.checkpoints.get(name) != head:
        yield Violation(Broken.BEHIND, f"{name}: {evidence.checkpoints.get(name)} of {head}")
    handled = {p: _Handled.of(notes) for p, notes in evidence.notes_about(name).items()}
    owners: dict[int, str] = {}
    for change in (change for change in evidence.changes if change.name == name):
        if change.is_claim:
            owners[change.epoch] = change.process
        yield from _judge_change(change, owners, handled)


@dataclass(frozen=True, slots=True)
class _Handled:
    received: set[int]
    acked: set[int]

    @classmethod
    def of(cls, notes: Sequence[Note]) -> _Handled:
        return cls(
            {position for note in notes for position, _ in note.events},
            {note.position for note in notes if note.kind is NoteKind.ACKING},
        )


def _judge_change(
    change: Change, owners: Mapping[int, str], handled: Mapping[str, _Handled]
) -> Iterator[Violation]:
    went_back = change.checkpoint < change.checkpoint_before and not change.is_reset
    if change.epoch < change.epoch_before or went_back:
        yield Violation(Broken.BACKWARDS, f"{change}")
    if change.checkpoint <= change.checkpoint_before:
        return
    if owners.get(change.epoch) != change.process:
        owner = owners.get(change.epoch)
        yield Violation(Broken.TWO_OWNERS, f"{owner} owns it: {change}")
    did = handled.get(change.process, _Handled(set(), set()))
    covered = range(change.checkpoint_before + 1, change.checkpoint + 1)
    if change.checkpoint not in did.acked or not did.received.issuperset(covered):
        yield Violation(Broken.UNACKNOWLEDGED, f"{change}")


# ── how long it took ─────────────────────────────────────────────────────────────────────────────


def _judge_stall(evidence: Evidence, name: str, bounds: Bounds) -> Iterator[Violation]:
    worst = max(stalls(evidence, name, evidence.calm_since), default=0.0)
    if worst > bounds.stall:
        yield Violation(Broken.STALLED, f"{name} for {worst:.1f} s")


def _judge_takeovers(evidence: Evidence, bounds: Bounds) -> Iterator[Violation]:
    for takeover in takeovers(evidence):
        promised = bounds.handover if takeover.was_released else evidence.poll_interval
        if takeover.late > promised + bounds.room:
            yield Violation(Broken.LATE_TAKEOVER, f"by {takeover.late:.1f} s: {takeover}")


def stalls(evidence: Evidence, name: str, since: float) -> Iterator[float]:
    """Yield for how long each event was the next one due, from the moment *since* on.

    An event is due when it is reported as stored and everything before it is delivered. One that
    was never delivered stalled for ever.
    """
    stored_at = _stored_at(evidence.attempts)
    delivered_at = _delivered_at(evidence.notes_about(name))
    before = since
    for position, event_id in evidence.expected(name):
        delivered = delivered_at.get(position, math.inf)
        if event_id in stored_at:
            yield max(0.0, delivered - max(before, stored_at[event_id]))
        if delivered == math.inf:
            return
        before = max(before, delivered)


def _stored_at(attempts: Sequence[Attempt]) -> dict[str, float]:
    return {
        event_id: attempt.stored_at
        for attempt in attempts
        if attempt.stored_at is not None
        for ids in attempt.ids.values()
        for event_id in ids
    }


def _delivered_at(notes: Mapping[str, Sequence[Note]]) -> dict[int, float]:
    first: dict[int, float] = defaultdict(lambda: math.inf)
    for each in notes.values():
        for note in each:
            for position, _ in note.events:
                first[position] = min(first[position], note.at)
    return first
