"""Judges the evidence: finds every broken guarantee. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise, starmap
from typing import assert_never

from tests.torture.deletions import Erased, broken_deletions, is_doomed
from tests.torture.evidence import Attempt, Change, Evidence, Note, NoteKind, Outcome, StoredEvent
from tests.torture.lateness import late_deliveries
from tests.torture.links import broken_links, broken_ruins
from tests.torture.parking import broken_parking, overtaken
from tests.torture.snapshots import broken_snapshots
from tests.torture.stalls import stalls
from tests.torture.takeovers import takeovers

__all__ = ["Bounds", "Broken", "Violation", "verdict"]


class Broken(StrEnum):
    """A broken guarantee."""

    LOST_APPEND = "a reported append is not stored as reported (G5)"
    STORED_TWICE = "an event is stored twice (G6)"
    GHOST = "an event is stored that was refused, or never appended (G1)"
    TORN = "an append is stored in part (G1, G9)"
    HOLE = "positions or versions have gaps or disagree (G3)"
    LINK = "a link is not stored as reported, or in part (G35)"
    DELETION = "a deletion is not as reported, or came back, or did not end (G36)"
    GIVEN_TWICE = "a position was given out twice (G3, G36)"
    RUIN = "a link outlived its event, or its version was given out twice (G3, G35)"
    DELIVERED_LATE = "an event was delivered long after it was deleted for good (G36)"
    SNAPSHOT = "a snapshot is gone, or an older one, or of another incarnation of its stream"
    DAMAGE = "verify finds damage"
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
    PARKED = "an event of the subscription that parks some is lost, or stays parked (G38)"
    OVERTAKEN = "an event was handled before an earlier one of its stream was done (G38)"
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
    gone: float = 1.0
    """Most seconds beyond `poll_interval` until an event that is gone is delivered no more: its
    batch may wait for the subscriber, and the deletion is timed before its commit."""


def verdict(evidence: Evidence, bounds: Bounds = Bounds()) -> list[Violation]:
    """Return every violation of a guarantee."""
    found = [Violation(Broken.INCIDENT, incident) for incident in evidence.incidents]
    erased = evidence.erased()
    found += _judge_orders(evidence.stored, erased)
    found += _judge_attempts(evidence, erased, bounds)
    found += _judge_deletions(evidence)
    seen = (evidence.may_be_parked(), evidence.handled, evidence.parked)
    told = broken_parking(*seen, evidence.hopeless())
    found += [Violation(Broken.PARKED, details) for details in told]
    found += [Violation(Broken.OVERTAKEN, details) for details in overtaken(*seen)]
    for name in evidence.subscriptions:
        found += _judge_deliveries(evidence, erased, name)
        found += _judge_lateness(evidence, erased, name, bounds)
        found += _judge_checkpoints(evidence, erased, name)
        found += _judge_stall(evidence, name, bounds)
    found += _judge_takeovers(evidence, bounds)
    found += [
        Violation(Broken.UNDEAD, name)
        for name in sorted(evidence.checkpoints.keys() - evidence.subscriptions.keys())
    ]
    return found


# ── what is stored ───────────────────────────────────────────────────────────────────────────────


def _judge_orders(stored: Sequence[StoredEvent], erased: Erased) -> Iterator[Violation]:
    versions: Counter[str] = Counter()
    before = 0
    for event in stored:
        versions[event.stream_id] += 1
        follows = erased.fill(before, event.position) and event.position not in erased.places
        if not follows or event.version != versions[event.stream_id]:
            wanted = f"wanted what follows {before}, and version {versions[event.stream_id]}"
            yield Violation(Broken.HOLE, f"{event}, {wanted}")
            return
        before = event.position
    if erased.repeated:
        yield Violation(Broken.GIVEN_TWICE, f"erased twice: {erased.repeated[:3]}")
    twice = [i for i, count in Counter(event.event_id for event in stored).items() if count > 1]
    if twice:
        yield Violation(Broken.STORED_TWICE, f"{twice[:3]}")


def _judge_attempts(evidence: Evidence, erased: Erased, bounds: Bounds) -> Iterator[Violation]:
    by_id = {event.event_id: event for event in evidence.stored}
    known = {i for attempt in evidence.attempts for ids in attempt.ids.values() for i in ids}
    if strangers := by_id.keys() - known:
        yield Violation(Broken.GHOST, f"nobody appended {sorted(strangers)[:3]}")
    for attempt in evidence.attempts:
        yield from _judge_attempt(attempt, by_id, erased)
        # The ids of what is gone are in use until it is erased.
        if attempt.duplicate and not any(map(is_doomed, attempt.ids)):
            yield Violation(Broken.DUPLICATE, f"{attempt}")
        if attempt.overdue > bounds.overdue:
            yield Violation(Broken.OVERDUE, f"by {attempt.overdue:.1f} s: {attempt}")
    given = Counter(
        position + n
        for attempt in evidence.attempts
        for stream, (_, position) in attempt.places.items()
        for n in range(len(attempt.ids.get(stream, ())))
    )
    if twice := [position for position, count in given.items() if count > 1]:
        yield Violation(Broken.GIVEN_TWICE, f"{len(twice)}: {twice[:3]}")


def _judge_attempt(
    attempt: Attempt, by_id: Mapping[str, StoredEvent], erased: Erased
) -> Iterator[Violation]:
    present = sum(i in by_id for ids in attempt.ids.values() for i in ids)
    match attempt.outcome:
        case Outcome.NOT_STORED if present:
            yield Violation(Broken.GHOST, f"{attempt}")
        case Outcome.STORED if not _is_as_reported(attempt, by_id, erased):
            yield Violation(Broken.LOST_APPEND, f"{attempt}")
        case Outcome.UNKNOWN if present and not _is_whole(attempt, by_id):
            yield Violation(Broken.TORN, f"{attempt}")


def _is_as_reported(attempt: Attempt, by_id: Mapping[str, StoredEvent], erased: Erased) -> bool:
    if attempt.places.keys() != attempt.ids.keys():
        return False
    return all(
        by_id.get(event_id) == StoredEvent(position + n, stream, version + n, event_id)
        or erased.was_at(stream, version + n, position + n)
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


def _judge_deletions(evidence: Evidence) -> Iterator[Violation]:
    """Judge what was deleted, and what goes with it: links and snapshots."""
    ids = {(event.stream_id, event.version): event.event_id for event in evidence.stored}
    asked, links = evidence.requests, evidence.links
    for broken, found in (
        (Broken.LINK, broken_links(links, evidence.linked)),
        (Broken.RUIN, broken_ruins(links, evidence.ruins)),
        (Broken.DELETION, broken_deletions(asked, evidence.deletions, evidence.closed)),
        (Broken.DELETION, _outlived(evidence)),
        (Broken.DELETION, _appended_when_closed(evidence)),
        (Broken.SNAPSHOT, broken_snapshots(evidence.looks, ids)),
        (Broken.DAMAGE, evidence.damage),
    ):
        yield from (Violation(broken, each) for each in found)


def _outlived(evidence: Evidence) -> Iterator[str]:
    """Yield what was stored before a deletion for good, and is there after its success."""
    stored = {event.event_id for event in evidence.stored}
    # A success says that the stream is gone: somebody else may have deleted it meanwhile.
    newest = {
        one.stream_id: one
        for one in sorted(evidence.requests, key=lambda one: one.began_at)
        if one.hard and one.done_at is not None
    }
    for attempt in evidence.attempts:
        for stream_id, ids in attempt.ids.items():
            request = newest.get(stream_id)
            if request is None or attempt.stored_at is None:
                continue
            if attempt.stored_at < request.began_at and not stored.isdisjoint(ids):
                yield f"{attempt} outlived {request}"


def _appended_when_closed(evidence: Evidence) -> Iterator[str]:
    closed_at = {one.stream_id: one.done_at for one in evidence.requests if not one.hard}
    stored = {event.event_id for event in evidence.stored}
    for attempt in evidence.attempts:
        moments = [moment for stream in attempt.ids if (moment := closed_at.get(stream))]
        ids = {event_id for of_stream in attempt.ids.values() for event_id in of_stream}
        if moments and attempt.began_at > min(moments) and not stored.isdisjoint(ids):
            yield f"appended to a closed stream: {attempt}"


# ── what was delivered ───────────────────────────────────────────────────────────────────────────


def _judge_deliveries(evidence: Evidence, erased: Erased, name: str) -> Iterator[Violation]:
    expected, stream_id = dict(evidence.expected(name)), evidence.subscriptions[name]
    delivered: set[str] = set()
    for process, notes in evidence.notes_about(name).items():
        received = [pair for note in notes for pair in note.events]
        wrong = [
            pair
            for pair in received
            if expected.get(pair[0]) != pair[1] and not erased.may_have_been(stream_id, *pair)
        ]
        if wrong:
            yield Violation(Broken.WRONG_EVENT, f"{name} in {process}: {wrong[:3]}")
        delivered.update(event_id for _, event_id in received)
        claims = {
            change.checkpoint
            for change in evidence.changes
            if change.name == name and change.process == process and change.is_claim
        }
        yield from _judge_runs(name, process, notes, claims, _gaps(evidence, erased, name))
    if missing := [position for position, i in expected.items() if i not in delivered]:
        yield Violation(Broken.UNDELIVERED, f"{name}: {len(missing)}, from {missing[0]}")


def _gaps(evidence: Evidence, erased: Erased, name: str) -> Erased:
    """Return what a subscription may pass: a stream that is created again has no gaps."""
    return erased if evidence.subscriptions[name] == "$all" else _NOTHING


_NOTHING = Erased((), {}, {})


def _judge_runs(
    name: str, process: str, notes: Sequence[Note], claims: set[int], gaps: Erased
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
                goes_on = gaps.fill(after, positions[0]) or (
                    may_start and not starts.isdisjoint(gaps.starts_of(positions[0]))
                )
                if not goes_on or not all(starmap(gaps.fill, pairwise(positions))):
                    yield Violation(
                        Broken.DISORDER, f"{name} in {process}: {positions[:5]} after {after}"
                    )
                after, may_start = positions[-1], not is_told
            case _:
                assert_never(note.kind)


def _judge_lateness(
    evidence: Evidence, erased: Erased, name: str, bounds: Bounds
) -> Iterator[Violation]:
    for late in late_deliveries(evidence, erased, name):
        if late.seconds > evidence.poll_interval + bounds.gone:
            yield Violation(Broken.DELIVERED_LATE, f"{late}")


# ── what was acknowledged ────────────────────────────────────────────────────────────────────────


def _judge_checkpoints(evidence: Evidence, erased: Erased, name: str) -> Iterator[Violation]:
    expected, gaps = evidence.expected(name), _gaps(evidence, erased, name)
    head = expected[-1][0] if expected else 0
    checkpoint = evidence.checkpoints.get(name)
    if checkpoint is None or not gaps.fill(head, checkpoint + 1):
        yield Violation(Broken.BEHIND, f"{name}: {checkpoint} of {head}")
    handled = {p: _Handled.of(notes) for p, notes in evidence.notes_about(name).items()}
    owners: dict[int, str] = {}
    changes = [change for change in evidence.changes if change.name == name]
    for change in changes:
        if change.is_claim:
            owners[change.epoch] = change.process
        yield from _judge_change(change, owners, handled, gaps)
    started_over = sum(change.is_start_over for change in changes)
    deletions = [one for one in evidence.deletions if one.stream_id == evidence.subscriptions[name]]
    if started_over > len(deletions):
        details = f"{name} started over {started_over} times, after {len(deletions)} deletions"
        yield Violation(Broken.BACKWARDS, details)


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
    change: Change,
    owners: Mapping[int, str],
    handled: Mapping[str, _Handled],
    gaps: Erased,
) -> Iterator[Violation]:
    is_allowed = change.is_reset or change.is_start_over
    went_back = change.checkpoint < change.checkpoint_before and not is_allowed
    if change.epoch < change.epoch_before or went_back:
        yield Violation(Broken.BACKWARDS, f"{change}")
    if change.checkpoint <= change.checkpoint_before:
        return
    if owners.get(change.epoch) != change.process:
        owner = owners.get(change.epoch)
        yield Violation(Broken.TWO_OWNERS, f"{owner} owns it: {change}")
    did = handled.get(change.process, _Handled(set(), set()))
    # A checkpoint passes what is gone, which nobody received.
    last = max(gaps.lowest(change.checkpoint), change.checkpoint_before)
    passed = range(change.checkpoint_before + 1, change.checkpoint + 1)
    covered = [position for position in passed if position not in gaps.places]
    is_acked = last == change.checkpoint_before or not did.acked.isdisjoint(
        range(last, change.checkpoint + 1)
    )
    if not is_acked or not did.received.issuperset(covered):
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
