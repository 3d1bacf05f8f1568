"""The verdict of a torture: a clean history passes, each kind of damage is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.torture.evidence import (
    OBSERVER,
    Attempt,
    Change,
    Evidence,
    Note,
    NoteKind,
    Outcome,
    StoredEvent,
    Trouble,
    attempts,
)
from tests.torture.links import Link
from tests.torture.plan import Kind
from tests.torture.stalls import stalls
from tests.torture.takeovers import takeovers
from tests.torture.verdict import Bounds, Broken, verdict


def run() -> Note:
    return Note(NoteKind.RUN, 1.0)


def received(*positions: int, at: float = 2.0) -> Note:
    return Note(NoteKind.RECEIVED, at, tuple((p, f"id{p}") for p in positions))


def acking(position: int) -> Note:
    return Note(NoteKind.ACKING, 3.0, position=position)


ONE, TWO, THREE = "torture-readers-0-0", "torture-readers-1-0", "torture-readers-2-0"


def claim(process: str, epoch: int, checkpoint: int, at: float = 4.0, idle: float = 1.6) -> Change:
    owners = (f"owner{epoch - 1}" if epoch > 1 else None, f"owner{epoch}")
    return Change("sub", process, epoch - 1, epoch, *owners, checkpoint, checkpoint, idle, at)


def release(process: str, epoch: int, checkpoint: int, at: float) -> Change:
    owner = f"owner{epoch}"
    return Change("sub", process, epoch, epoch, owner, None, checkpoint, checkpoint, 0.1, at)


def progress(process: str, epoch: int, before: int, after: int) -> Change:
    owner = f"owner{epoch}"
    return Change("sub", process, epoch, epoch, owner, owner, before, after, 0.1, 5.0)


def attempt(stream: str, *numbers: int, first: tuple[int, int], **more: Any) -> Attempt:
    ids = {stream: [f"id{n}" for n in numbers]}
    known = {"outcome": Outcome.STORED, "places": {stream: first}, "stored_at": 1.5}
    return Attempt(ids, **{**known, **more})


CLEAN = Evidence(
    stored=[
        StoredEvent(1, "a", 1, "id1"),
        StoredEvent(2, "a", 2, "id2"),
        StoredEvent(3, "b", 1, "id3"),
        StoredEvent(4, "a", 3, "id4"),
    ],
    attempts=[
        attempt("a", 1, 2, first=(1, 1)),
        attempt("b", 3, first=(1, 3)),
        attempt("a", 4, first=(3, 4)),
        Attempt({"a": ["refused"]}),
    ],
    subscriptions={"sub": "$all"},
    notes={
        (ONE, "sub"): [run(), received(1, 2), acking(2), received(3)],
        (TWO, "sub"): [run(), received(3), received(4), acking(4)],
    },
    changes=[
        claim(ONE, 1, 0),
        progress(ONE, 1, 0, 2),
        claim(TWO, 2, 2),
        progress(TWO, 2, 2, 4),
    ],
    checkpoints={"sub": 4},
    calm_since=1.0,
    lease=1.5,
    poll_interval=0.2,
    runtimes=frozenset({0, 1, 2}),
)


def broken(evidence: Evidence) -> set[Broken]:
    return {violation.broken for violation in verdict(evidence)}


def test_a_clean_history_passes() -> None:
    assert verdict(CLEAN) == []
    assert verdict(with_link([(1, "id1"), (2, "id2")], 1)) == []
    assert verdict(with_link([(1, "id1"), (2, "id2")], None)) == []
    assert verdict(with_link([], None)) == []


def with_attempts(*more: Attempt) -> Evidence:
    return replace(CLEAN, attempts=[*CLEAN.attempts, *more])


def with_first(**more: Any) -> Evidence:
    return replace(CLEAN, attempts=[replace(CLEAN.attempts[0], **more), *CLEAN.attempts[1:]])


def with_notes(process: str, *notes: Note) -> Evidence:
    return replace(CLEAN, notes={**CLEAN.notes, (process, "sub"): list(notes)})


def with_change(change: Change, at: int | None = None) -> Evidence:
    changes = list(CLEAN.changes)
    changes.insert(len(changes) if at is None else at, change)
    return replace(CLEAN, changes=changes)


def with_takeover(*changes: Change, troubles: Sequence[Trouble] = ()) -> Evidence:
    """Let the second owner come by *changes*."""
    rest = [CLEAN.changes[0], CLEAN.changes[1], *changes, CLEAN.changes[3]]
    return replace(CLEAN, changes=rest, troubles=troubles)


def with_link(linked: Sequence[tuple[int, str]], first: int | None) -> Evidence:
    """Let a writer link two events, as it was told at version *first*."""
    return replace(CLEAN, links=[Link(["id1", "id2"], first_version=first)], linked=linked)


def without_stored(position: int) -> Evidence:
    return replace(CLEAN, stored=[e for e in CLEAN.stored if e.position != position])


DAMAGE: dict[str, tuple[Callable[[], Evidence], Broken]] = {
    "a hole in the positions": (lambda: without_stored(2), Broken.HOLE),
    "two orders that disagree": (
        lambda: replace(
            CLEAN,
            stored=[*CLEAN.stored[:3], StoredEvent(4, "a", 2, "id4")],
        ),
        Broken.HOLE,
    ),
    "a success that is gone": (lambda: without_stored(4), Broken.LOST_APPEND),
    "a success that is elsewhere": (
        lambda: with_first(places={"a": (2, 1)}),
        Broken.LOST_APPEND,
    ),
    "a success without a place": (lambda: with_first(places={}), Broken.LOST_APPEND),
    "an event that is there twice": (
        lambda: replace(CLEAN, stored=[*CLEAN.stored, StoredEvent(5, "a", 4, "id4")]),
        Broken.STORED_TWICE,
    ),
    "a refused append that is stored": (
        lambda: with_first(outcome=Outcome.NOT_STORED),
        Broken.GHOST,
    ),
    "an event that nobody appended": (
        lambda: replace(CLEAN, attempts=CLEAN.attempts[1:]),
        Broken.GHOST,
    ),
    "an unknown append, stored in part": (
        lambda: with_attempts(Attempt({"a": ["id4", "more"]}, Outcome.UNKNOWN)),
        Broken.TORN,
    ),
    "an unknown append, stored with a stranger inside": (
        lambda: with_attempts(Attempt({"a": ["id2", "id4"]}, Outcome.UNKNOWN)),
        Broken.TORN,
    ),
    "a link that is lost": (lambda: with_link([], 1), Broken.LINK),
    "a link that is stored in part": (lambda: with_link([(1, "id1")], None), Broken.LINK),
    "a link that is stored elsewhere": (
        lambda: with_link([(1, "id2"), (2, "id1")], 1),
        Broken.LINK,
    ),
    "a hole in the linked stream": (
        lambda: with_link([(2, "id1"), (3, "id2")], 2),
        Broken.LINK,
    ),
    "an event that nobody linked": (
        lambda: with_link([(1, "id1"), (2, "id2"), (3, "id3")], 1),
        Broken.LINK,
    ),
    "a link that was refused": (
        lambda: replace(CLEAN, links=[Link(["id1"], errors=["refused"])]),
        Broken.LINK,
    ),
    "a retry that is a duplicate": (lambda: with_first(duplicate=True), Broken.DUPLICATE),
    "an append that outlived its deadline": (lambda: with_first(overdue=9.0), Broken.OVERDUE),
    "an event that nobody got": (
        lambda: with_notes(TWO, run(), received(3)),
        Broken.UNDELIVERED,
    ),
    "another event than is stored": (
        lambda: with_notes(THREE, Note(NoteKind.RECEIVED, 2.0, ((1, "id9"),))),
        Broken.WRONG_EVENT,
    ),
    "an event that is skipped within a run": (
        lambda: with_notes(ONE, run(), received(1), received(3)),
        Broken.DISORDER,
    ),
    "a batch with a hole": (
        lambda: with_notes(ONE, run(), received(1, 3)),
        Broken.DISORDER,
    ),
    "a run that goes back": (
        lambda: with_notes(ONE, run(), received(1, 2), acking(2), received(2)),
        Broken.DISORDER,
    ),
    "a run that starts beyond the checkpoint": (
        lambda: with_notes(TWO, run(), received(4)),
        Broken.DISORDER,
    ),
    "a checkpoint that nobody acknowledged": (
        lambda: with_notes(ONE, run(), received(1, 2)),
        Broken.UNACKNOWLEDGED,
    ),
    "a checkpoint over what was not delivered": (
        lambda: with_notes(ONE, run(), received(2), acking(2)),
        Broken.UNACKNOWLEDGED,
    ),
    "a checkpoint that goes back": (
        lambda: with_change(progress(TWO, 2, 4, 3)),
        Broken.BACKWARDS,
    ),
    "a claim that takes a checkpoint back": (
        lambda: with_change(replace(claim(TWO, 3, 3), checkpoint_before=4)),
        Broken.BACKWARDS,
    ),
    "a stale owner that counts": (
        lambda: with_change(progress(ONE, 2, 2, 3), at=3),
        Broken.TWO_OWNERS,
    ),
    "a subscription that stays behind": (
        lambda: replace(CLEAN, checkpoints={"sub": 3}),
        Broken.BEHIND,
    ),
    "a subscription that came back": (
        lambda: replace(CLEAN, checkpoints={"sub": 4, "deleted-1": 0}),
        Broken.UNDEAD,
    ),
    "a subscription that is gone": (lambda: replace(CLEAN, checkpoints={}), Broken.BEHIND),
    "an event that comes late": (
        lambda: with_notes(TWO, run(), received(3), received(4, at=60.0), acking(4)),
        Broken.STALLED,
    ),
    "a takeover long after the lease ran out": (
        lambda: with_takeover(claim(TWO, 2, 2, idle=4.5)),
        Broken.LATE_TAKEOVER,
    ),
    "a release that nobody noticed": (
        lambda: with_takeover(
            release(ONE, 1, 2, at=4.0), replace(claim(TWO, 2, 2, at=6.5), owner_before=None)
        ),
        Broken.LATE_TAKEOVER,
    ),
    "a process that ended": (lambda: replace(CLEAN, incidents=["it ended"]), Broken.INCIDENT),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(damage: str) -> None:
    make, wanted = DAMAGE[damage]
    assert wanted in broken(make())


def test_a_reset_may_take_a_checkpoint_back_and_nobody_else() -> None:
    reset = replace(release(OBSERVER, 3, 1, at=6.0), epoch_before=2, checkpoint_before=4)
    assert broken(with_change(reset)) == set()
    assert broken(with_change(replace(reset, process=TWO))) == {Broken.BACKWARDS}


def test_an_unknown_append_may_be_stored_or_not() -> None:
    assert broken(with_first(outcome=Outcome.UNKNOWN, places={}, stored_at=None)) == set()
    assert broken(with_attempts(Attempt({"a": ["x", "y"]}, Outcome.UNKNOWN))) == set()


def test_a_function_may_get_again_what_follows_its_last_acknowledgement() -> None:
    again = [received(1, 2), acking(2), received(3), received(3), acking(3)]
    assert broken(with_notes(ONE, *again)) == set()
    assert broken(with_notes(ONE, received(1, 2), received(2))) >= {Broken.DISORDER}


def test_a_subscription_to_one_stream_counts_in_versions_of_that_stream() -> None:
    evidence = replace(
        CLEAN,
        subscriptions={"sub": "a"},
        notes={
            (ONE, "sub"): [
                Note(NoteKind.RECEIVED, 2.0, ((1, "id1"), (2, "id2"), (3, "id4"))),
                acking(3),
            ]
        },
        changes=[claim(ONE, 1, 0), progress(ONE, 1, 0, 3)],
        checkpoints={"sub": 3},
    )
    assert verdict(evidence) == []


def test_what_never_came_stalled_for_ever() -> None:
    evidence = replace(CLEAN, notes={(ONE, "sub"): CLEAN.notes[ONE, "sub"]})
    assert list(stalls(evidence, "sub", 1.0)) == [0.5, 0.0, 0.0, math.inf]
    assert broken(evidence) >= {Broken.STALLED, Broken.UNDELIVERED}


def test_a_stall_is_counted_from_when_the_event_was_due() -> None:
    evidence = with_notes(TWO, run(), received(3, at=20.0), received(4, at=21.0), acking(4))
    assert list(stalls(evidence, "sub", 1.0)) == [0.5, 0.0, 0.0, 19.0]
    assert broken(replace(evidence, calm_since=18.0)) == set()
    assert {v.broken for v in verdict(evidence, Bounds(stall=18.0))} == {Broken.STALLED}


@pytest.mark.parametrize(
    ("hurt", "excused"), [({1}, 0.0), ({1, 2}, 3.0), ({0, 1, 2}, 3.0), ({0, 2}, 0.0)]
)
def test_a_takeover_is_late_only_while_somebody_else_could_act(
    hurt: set[int], excused: float
) -> None:
    troubles = [Trouble(Kind.CUT_ALL, 0.0, 9.0, frozenset({place})) for place in hurt]
    evidence = with_takeover(claim(TWO, 2, 2, at=6.0, idle=4.5), troubles=troubles)
    [takeover] = takeovers(evidence)
    assert (takeover.due, takeover.at, takeover.excused) == (3.0, 6.0, excused)
    assert broken(evidence) == (set() if excused else {Broken.LATE_TAKEOVER})


def test_troubles_that_follow_each_other_excuse_a_takeover_only_for_their_time() -> None:
    both = frozenset({1, 2})
    troubles = [Trouble(Kind.CUT_ALL, 0.0, 1.5, both), Trouble(Kind.CUT_ALL, 4.0, 4.0, both)]
    [takeover] = takeovers(with_takeover(claim(TWO, 2, 2, at=9.0, idle=7.5), troubles=troubles))
    assert takeover.excused == 0.5 + 2.0
    assert takeover.late == 6.0 - 2.5


# ── what the notes of a writer come to ───────────────────────────────────────────────────────────


def journal(*whats: str) -> list[dict[str, Any]]:
    begin: dict[str, Any] = {"what": "attempt", "at": 0.0, "attempt": "x", "ids": {"a": ["id"]}}
    more = {"timeout": 1.0, "places": {"a": [1, 1]}}
    rest = [
        {"what": what, "at": float(at), "attempt": "x", **more}
        for at, what in enumerate(whats, start=1)
    ]
    return [begin, *rest]


@pytest.mark.parametrize(
    ("whats", "outcome"),
    [
        ([], Outcome.NOT_STORED),
        (["trying"], Outcome.UNKNOWN),
        (["trying", "stored"], Outcome.STORED),
        (["trying", "refused"], Outcome.NOT_STORED),
        (["trying", "unavailable"], Outcome.NOT_STORED),
        (["trying", "unknown"], Outcome.UNKNOWN),
        (["trying", "unknown", "trying", "unavailable"], Outcome.UNKNOWN),
        (["trying", "unknown", "trying", "stored"], Outcome.STORED),
        (["trying", "unavailable", "trying"], Outcome.UNKNOWN),
        (["trying", "refused", "trying"], Outcome.UNKNOWN),
        (["trying", "stored", "trying"], Outcome.STORED),
        (["trying", "stored", "trying", "unknown"], Outcome.STORED),
        (["trying", "stored", "trying", "unavailable"], Outcome.STORED),
        (["trying", "stored", "trying", "refused"], Outcome.NOT_STORED),
    ],
)
def test_the_outcome_is_what_the_writer_could_know(whats: list[str], outcome: Outcome) -> None:
    (found,) = attempts(journal(*whats))
    assert found.outcome is outcome


def test_an_answer_after_the_deadline_is_overdue() -> None:
    notes = journal("trying", "stored")
    notes[-1]["at"] = 4.0
    (found,) = attempts(notes)
    assert found.overdue == 2.0


@pytest.mark.parametrize(("moved_at", "excused"), [(1.0, 1.5), (2.0, 3.0), (7.0, 1.5)])
def test_who_comes_new_after_the_clock_went_back_must_watch_a_whole_lease(
    moved_at: float, excused: float
) -> None:
    """Renewed at 1.5, due at 3, taken over at 6; both standbys began at 2.5 and then watched."""
    troubles = [
        Trouble(Kind.CLOCK_BACK, moved_at, moved_at, frozenset()),
        Trouble(Kind.KILL_RUNTIME, 1.8, 2.5, frozenset({1, 2})),
    ]
    evidence = with_takeover(claim(TWO, 2, 2, at=6.0, idle=4.5), troubles=troubles)
    [takeover] = takeovers(evidence)
    assert takeover.excused == pytest.approx(excused)
