"""The report of a torture: every figure that is promised, on a terminal of 80 columns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.torture.deletions import Deletion
from tests.torture.evidence import (
    Attempt,
    Change,
    Evidence,
    Note,
    NoteKind,
    Outcome,
    StoredEvent,
    Trouble,
)
from tests.torture.parking import Handled, Parked
from tests.torture.plan import Kind
from tests.torture.report import reasons, report
from tests.torture.snapshots import Look
from tests.torture.verdict import Broken, Violation

FIRST, SECOND = "torture-readers-0-0", "torture-readers-1-0"


def received(at: float, *positions: int) -> Note:
    return Note(NoteKind.RECEIVED, at, tuple((p, f"id{p}") for p in positions))


EVIDENCE = Evidence(
    stored=[StoredEvent(1, "a", 1, "id1"), StoredEvent(2, "a", 2, "id2")],
    attempts=[
        Attempt({"a": ["id1", "id2"]}, Outcome.STORED, stored_at=10.0, doubtful=True),
        Attempt({"a": ["x"]}, Outcome.UNKNOWN, doubtful=True, overdue=0.25),
        Attempt({"a": ["y"]}),
        Attempt({"doomed-0": ["id3"]}, Outcome.STORED, {"doomed-0": (1, 3)}, stored_at=11.5),
    ],
    subscriptions={"sub": "$all"},
    notes={
        (FIRST, "sub"): [received(10.5, 1, 2)],
        (SECOND, "sub"): [received(14.0, 2), received(15.25, 3)],
    },
    changes=[
        Change("sub", FIRST, 0, 1, None, "first", 0, 0, None, 1.0),
        Change("sub", SECOND, 1, 2, "first", "second", 1, 1, 4.0, 14.0),
        Change("sub", SECOND, 2, 2, "second", None, 2, 2, 0.1, 15.0),
        Change("sub", FIRST, 2, 3, None, "third", 2, 2, 0.4, 15.3),
    ],
    checkpoints={"sub": 2},
    calm_since=10.25,
    lease=1.5,
    poll_interval=0.2,
    runtimes=frozenset({0, 1}),
    troubles=[
        Trouble(Kind.RESTART_SERVER, 10.0, 11.0, frozenset({0, 1})),
        Trouble(Kind.PAUSE, 10.0, 10.2, frozenset()),
        Trouble(Kind.PAUSE, 12.0, 12.2, frozenset()),
    ],
    deletions=[Deletion("doomed-0", 15.0, [(3, 4), (7, 8)]), Deletion("doomed-1", 15.5, [(9, 9)])],
    closed=["c"],
    handled=[Handled(1.0, "s-1", 1, replay=False)] * 2 + [Handled(2.0, "s-1", 2, replay=True)],
    parked=[Parked(3, 3.0), Parked(4, None)],
    looks=[Look("a", 1.0, 1, is_look=False), Look("a", 2.0, 1, "id1"), Look("b", 3.0)],
)


@pytest.mark.parametrize(
    ("label", "figures"),
    [
        ("appends", "4: 2 stored, 1 not stored, 1 unknown; 2 were unknown at first"),
        ("events", "2 stored"),
        (
            "deletions",
            "2 streams for good, with 5 events, 1 delivered afterwards, up to 0.25 s; 1 closed",
        ),
        ("snapshots", "1 recorded, 2 looks"),
        (
            "parking",
            "3 handled, 1 of them after they were parked; 1 skipped, 1 parked at the end",
        ),
        ("faults", "3 of 2 kinds: 1 restart the server, 2 pause"),
        ("deliveries", "4 to 1 subscriptions, 1 of them redeliveries"),
        ("takeovers", "1, the worst 2.50 s (4.00 s with all runtimes hurt) after the last renewal"),
        ("handovers", "1, the worst 0.30 s (0.30 s with all runtimes hurt) after the release"),
        ("worst stall", "0.25 s after the last fault, 0.50 s in all"),
        ("worst delay", "0.25 s of an append beyond its deadline"),
    ],
)
def test_the_report_tells_what_happened(label: str, figures: str) -> None:
    text = " ".join(line.strip() for line in report(EVIDENCE))
    assert f"{label} {figures}" in " ".join(text.split())


def test_the_report_fits_a_terminal_of_80_columns() -> None:
    violations = [Violation(Broken.HOLE, f"{EVIDENCE}")] * 5
    lines = [*report(EVIDENCE), *reasons(violations)]
    assert max(map(len, lines)) < 80


def test_a_report_without_takeovers_says_so() -> None:
    lines = list(report(replace(EVIDENCE, changes=[])))
    assert "takeovers    none" in lines
    assert "handovers    none" in lines


def test_each_broken_promise_is_told_once_with_a_few_of_its_cases() -> None:
    violations = [Violation(Broken.HOLE, f"case {number}") for number in range(5)]
    assert list(reasons([*violations, Violation(Broken.GHOST, "a ghost")])) == [
        f"BROKEN, 5 times: {Broken.HOLE}",
        "  - case 0",
        "  - case 1",
        "  - case 2",
        f"BROKEN, 1 times: {Broken.GHOST}",
        "  - a ghost",
    ]
