"""The verdict of a torture on deletions: what is gone is no damage, and damage is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.project.test_torture_verdict import (
    CLEAN,
    DAMAGE,
    ONE,
    TWO,
    acking,
    attempt,
    broken,
    claim,
    progress,
    received,
    run,
)
from tests.torture.deletions import Deletion, Request, requests
from tests.torture.evidence import Evidence, Note, NoteKind, Outcome, StoredEvent, Trouble
from tests.torture.links import RUINS, Link
from tests.torture.parking import Handled
from tests.torture.plan import Kind
from tests.torture.snapshots import Look, looks
from tests.torture.verdict import Broken, verdict

DOOMED = "doomed-0"


def asked(stream_id: str, **more: Any) -> Request:
    return Request(stream_id, **{"hard": True, "began_at": 9.9, "tries": 1, **more})


GONE = replace(
    CLEAN,
    stored=[*CLEAN.stored, StoredEvent(7, "b", 2, "id7"), StoredEvent(8, DOOMED, 1, "id8")],
    attempts=[
        *CLEAN.attempts,
        attempt(DOOMED, 5, 6, first=(1, 5)),
        attempt("b", 7, first=(2, 7)),
        attempt(DOOMED, 8, first=(1, 8), stored_at=10.2),
    ],
    notes={
        (ONE, "sub"): [run(), received(1, 2), acking(2), received(3)],
        (TWO, "sub"): [run(), received(3), received(4, 5), received(7, 8), acking(8)],
    },
    changes=[*CLEAN.changes[:3], progress(TWO, 2, 2, 8)],
    checkpoints={"sub": 8},
    requests=[asked(DOOMED, tries=2, done_at=10.1), asked("c", hard=False)],
    deletions=[Deletion(DOOMED, 10.0, [(5, 6)])],
    closed=["c"],
)
"""Two events were deleted for good. One of them was delivered before."""


def with_notes(*notes: Note) -> Evidence:
    return replace(GONE, notes={**GONE.notes, (TWO, "sub"): list(notes)})


def with_late(at: float, troubles: Sequence[Trouble] = ()) -> Evidence:
    """Let an event that is gone be delivered at a moment; it was deleted at 10."""
    notes = [run(), received(3), received(4), received(5, at=at), received(7, 8), acking(8)]
    return replace(with_notes(*notes), troubles=troubles)


def with_deletions(*deletions: Deletion, **more: Any) -> Evidence:
    return replace(GONE, deletions=deletions, **more)


def with_request(*asked: Request, **more: Any) -> Evidence:
    return replace(GONE, requests=[*GONE.requests, *asked], **more)


def with_ruins(*ruins: tuple[int, str | None], links: Sequence[Link] = ()) -> Evidence:
    return replace(GONE, ruins=ruins, links=links)


def with_looks(*told: Look) -> Evidence:
    return replace(GONE, looks=told)


def recorded(at: float, version: int) -> Look:
    return Look("a", at, version, is_look=False)


LINK = Link(["id5", "id6"], RUINS, first_version=1)

GONE_DAMAGE: dict[str, tuple[Callable[[], Evidence], Broken]] = {
    "a hole that no deletion made": (with_deletions, Broken.HOLE),
    "an event where one was erased": (
        lambda: with_deletions(Deletion(DOOMED, 10.0, [(5, 7)])),
        Broken.HOLE,
    ),
    "a position that was erased twice": (
        lambda: with_deletions(GONE.deletions[0], Deletion(DOOMED, 11.0, [(6, 6)])),
        Broken.GIVEN_TWICE,
    ),
    "a position that two writers got": (
        lambda: replace(GONE, attempts=[*GONE.attempts, attempt(DOOMED, 9, first=(1, 6))]),
        Broken.GIVEN_TWICE,
    ),
    "an append that went with another stream": (
        lambda: replace(GONE, attempts=[*GONE.attempts[:-3], attempt("a", 5, 6, first=(4, 5))]),
        Broken.LOST_APPEND,
    ),
    "an append that had another version": (
        lambda: replace(GONE, attempts=[*GONE.attempts, attempt(DOOMED, 6, first=(3, 6))]),
        Broken.LOST_APPEND,
    ),
    "a deletion that nobody asked for": (
        lambda: replace(GONE, requests=[]),
        Broken.DELETION,
    ),
    "an event that outlived a deletion": (
        lambda: with_request(asked(DOOMED, began_at=11.0, done_at=11.1)),
        Broken.DELETION,
    ),
    "a deletion that was refused": (
        lambda: with_request(asked(DOOMED, errors=["refused"])),
        Broken.DELETION,
    ),
    "a deletion that does not end": (
        lambda: with_deletions(replace(GONE.deletions[0], is_erased=False)),
        Broken.DELETION,
    ),
    "a closed stream that is open": (
        lambda: with_request(asked("d", hard=False, done_at=9.9)),
        Broken.DELETION,
    ),
    "a stream that nobody closed": (lambda: replace(GONE, closed=["c", "d"]), Broken.DELETION),
    "an append to a closed stream": (
        lambda: with_request(
            asked("a", hard=False, done_at=0.5),
            closed=["a", "c"],
            attempts=[replace(GONE.attempts[0], began_at=1.0), *GONE.attempts[1:]],
        ),
        Broken.DELETION,
    ),
    "a link to an event that is gone": (lambda: with_ruins((1, None)), Broken.RUIN),
    "a version that two links got": (
        lambda: with_ruins(links=[LINK, Link(["id8"], RUINS, first_version=2)]),
        Broken.RUIN,
    ),
    "another event than was linked": (
        lambda: with_ruins((1, "id8"), links=[LINK]),
        Broken.RUIN,
    ),
    "an event that comes long after its deletion": (
        lambda: with_late(11.5),
        Broken.DELIVERED_LATE,
    ),
    "another event than was there": (
        lambda: with_notes(
            run(), received(3, 4), Note(NoteKind.RECEIVED, 2.0, ((5, "id6"),)), received(7, 8)
        ),
        Broken.WRONG_EVENT,
    ),
    "a checkpoint over what follows the gap": (
        lambda: with_notes(run(), received(3, 4), received(8), acking(8)),
        Broken.UNACKNOWLEDGED,
    ),
    "a batch that passes more than the gap": (
        lambda: with_notes(run(), received(3, 4), received(8), acking(8)),
        Broken.DISORDER,
    ),
    "an older snapshot than was recorded": (
        lambda: with_looks(recorded(1.0, 2), Look("a", 2.0, 1, "id1")),
        Broken.SNAPSHOT,
    ),
    "a snapshot that is lost": (
        lambda: with_looks(recorded(1.0, 2), Look("a", 2.0)),
        Broken.SNAPSHOT,
    ),
    "a snapshot of another event": (lambda: with_looks(Look("a", 2.0, 2, "id9")), Broken.SNAPSHOT),
    "a snapshot of another incarnation": (
        lambda: with_looks(Look(DOOMED, 2.0, 1, "id5", wants_none=True)),
        Broken.SNAPSHOT,
    ),
    "a snapshot that is refused": (
        lambda: with_looks(Look("a", 2.0, error="refused")),
        Broken.SNAPSHOT,
    ),
    "an event that is neither handled nor parked": (
        lambda: replace(GONE, stored=[StoredEvent(1, "s-0", 1, "id1")]),
        Broken.PARKED,
    ),
    "an event that was handled before an earlier one of its stream": (
        lambda: replace(
            GONE,
            stored=[StoredEvent(1, "s-0", 1, "id1"), StoredEvent(2, "s-0", 2, "id2")],
            handled=[
                Handled(at, "s-0", position, replay=False) for at, position in ((1, 2), (2, 1))
            ],
        ),
        Broken.OVERTAKEN,
    ),
    "damage": (lambda: replace(GONE, damage=["a finding"]), Broken.DAMAGE),
}


def test_a_clean_history_with_deletions_passes() -> None:
    assert verdict(GONE) == []
    assert verdict(with_ruins((3, "id8"), links=[LINK])) == []
    assert verdict(with_looks(recorded(1.0, 2), Look("a", 0.5), Look("a", 2.0, 3, "id4"))) == []


@pytest.mark.parametrize("damage", GONE_DAMAGE)
def test_damage_is_named(damage: str) -> None:
    make, wanted = GONE_DAMAGE[damage]
    assert wanted in broken(make())


def test_every_broken_promise_can_be_found() -> None:
    assert {wanted for _, wanted in [*DAMAGE.values(), *GONE_DAMAGE.values()]} == set(Broken)


@pytest.mark.parametrize(("place", "at"), [(1, 13.0), (1, 20.0), (0, 13.0)])
def test_what_is_gone_may_be_delivered_by_who_could_not_know(place: int, at: float) -> None:
    trouble = Trouble(Kind.FREEZE_RUNTIME, 9.0, 12.0, frozenset({place}))
    is_excused = place == 1
    assert (Broken.DELIVERED_LATE not in broken(with_late(at, [trouble]))) is is_excused
    assert broken(with_late(11.0)) == set()


def test_an_append_without_an_answer_may_be_gone() -> None:
    doubtful = replace(GONE.attempts[-3], outcome=Outcome.UNKNOWN, places={}, stored_at=None)
    attempts = [*GONE.attempts[:-3], doubtful, *GONE.attempts[-2:]]
    assert broken(replace(GONE, attempts=attempts)) == set()


def test_an_append_may_be_gone_and_be_stored_again_by_its_own_retry() -> None:
    """G6: of what is erased nothing is known any more, so that its ids are free."""
    again = attempt(DOOMED, 5, 6, first=(2, 9), stored_at=11.5)
    events = [StoredEvent(9, DOOMED, 2, "id5"), StoredEvent(10, DOOMED, 3, "id6")]
    evidence = replace(
        GONE,
        stored=[*GONE.stored, *events],
        attempts=[*GONE.attempts[:-3], *GONE.attempts[-2:], again],
        checkpoints={"sub": 10},
        changes=[*CLEAN.changes[:3], progress(TWO, 2, 2, 10)],
    )
    after = [Note(NoteKind.RECEIVED, 12.0, ((9, "id5"), (10, "id6"))), acking(10)]
    notes = [run(), received(3, 4, 5), received(7, 8), *after]
    assert broken(replace(evidence, notes={**GONE.notes, (TWO, "sub"): notes})) == set()
    notes[1] = Note(NoteKind.RECEIVED, 2.0, ((3, "id3"), (4, "id4"), (5, "id7")))
    found = broken(replace(evidence, notes={**GONE.notes, (TWO, "sub"): notes}))
    assert found == {Broken.WRONG_EVENT}


def test_the_end_may_be_gone() -> None:
    """G36: a checkpoint may be before it or beyond it."""
    evidence = replace(
        GONE,
        stored=GONE.stored[:-1],
        deletions=[*GONE.deletions, Deletion(DOOMED, 11.0, [(8, 8)])],
        notes={**GONE.notes, (TWO, "sub"): [run(), received(3, 4), received(7), acking(7)]},
    )
    for checkpoint, is_right in ((7, True), (8, True), (6, False), (9, False)):
        changes = [*CLEAN.changes[:3], progress(TWO, 2, 2, checkpoint)]
        found = broken(replace(evidence, changes=changes, checkpoints={"sub": checkpoint}))
        assert (found == set()) is is_right, checkpoint


def test_a_subscription_to_a_stream_that_is_gone_starts_over() -> None:
    """G36: and delivers the next stream of that name."""
    first = Note(NoteKind.RECEIVED, 2.0, ((1, "id5"), (2, "id6")))
    second = Note(NoteKind.RECEIVED, 11.0, ((1, "id8"),))
    over = replace(progress("torture-writers-0-0", 2, 2, 0), epoch_before=1, owner_before="owner1")
    evidence = replace(
        GONE,
        subscriptions={"sub": DOOMED},
        notes={(ONE, "sub"): [first, acking(2), second, acking(1)]},
        changes=[
            claim(ONE, 1, 0),
            progress(ONE, 1, 0, 2),
            replace(over, owner="owner1"),
            claim(ONE, 3, 0),
            progress(ONE, 3, 0, 1),
        ],
        checkpoints={"sub": 1},
        calm_since=10.5,
    )
    assert broken(evidence) == set()
    assert broken(replace(evidence, deletions=[])) >= {Broken.BACKWARDS}
    without = {(ONE, "sub"): [first, acking(2)]}
    assert broken(replace(evidence, notes=without)) >= {Broken.UNDELIVERED}


def test_the_notes_of_a_writer_become_requests_and_looks() -> None:
    journal = [
        {"what": "deleting", "at": 1.0, "deletion": "x", "stream": DOOMED, "hard": True},
        {"what": "deleting", "at": 2.0, "deletion": "x", "stream": DOOMED, "hard": True},
        {"what": "deleted", "at": 3.0, "deletion": "x"},
        {"what": "recorded", "at": 4.0, "stream": "a", "version": 2},
        {"what": "looking", "at": 5.0, "look": "y"},
        {"what": "looked", "at": 6.0, "look": "y", "stream": "a", "found": [2, "id"], "none": True},
    ]
    assert requests(journal) == [asked(DOOMED, began_at=1.0, tries=2, done_at=3.0)]
    assert looks(journal) == [recorded(4.0, 2), Look("a", 5.0, 2, "id", wants_none=True)]
