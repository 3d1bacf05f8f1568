"""The figures of a torture, for people. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.torture.evidence import Evidence, NoteKind, Outcome
from tests.torture.plan import Kind
from tests.torture.verdict import Violation, stalls

__all__ = ["reasons", "report"]

_MOST_OF_A_KIND = 3
_LONGEST_LINE = 600


def report(evidence: Evidence, faults: Counter[Kind]) -> Iterator[str]:
    """Return the lines of the report."""
    outcomes = Counter(attempt.outcome for attempt in evidence.attempts)
    yield f"appends      {len(evidence.attempts):,}: " + _listed(
        {outcome.value: outcomes[outcome] for outcome in Outcome}
    )
    doubtful = sum(attempt.doubtful for attempt in evidence.attempts)
    yield f"doubt        {doubtful:,} appends were unknown at first"
    yield f"events       {len(evidence.stored):,} stored"
    yield f"faults       {faults.total():,}: " + _listed({k.value: n for k, n in faults.items()})
    delivered, redelivered = _deliveries(evidence)
    yield f"deliveries   {delivered:,}, {redelivered:,} of them redeliveries"
    claims = [change for change in evidence.changes if change.is_claim]
    takeover = _worst_takeover(evidence)
    yield f"takeovers    {len(claims):,}, the worst {takeover:.2f} s after the last renewal"
    during, after = _worst_stall(evidence, 0.0), _worst_stall(evidence, evidence.calm_since)
    yield f"worst stall  {during:.2f} s in all, {after:.2f} s after the last fault"
    overdue = max((attempt.overdue for attempt in evidence.attempts), default=0.0)
    yield f"worst delay  {overdue:.2f} s of an append beyond its deadline"


def reasons(violations: Sequence[Violation]) -> Iterator[str]:
    """Return a line for each broken promise, with a few of its cases below."""
    for broken, count in Counter(violation.broken for violation in violations).items():
        yield f"BROKEN, {count:,} times: {broken}"
        cases = [violation.details for violation in violations if violation.broken is broken]
        yield from (f"    {case[:_LONGEST_LINE]}" for case in cases[:_MOST_OF_A_KIND])


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())


def _deliveries(evidence: Evidence) -> tuple[int, int]:
    delivered = 0
    distinct: set[tuple[str, int]] = set()
    for (_, name), notes in evidence.notes.items():
        for note in notes:
            if note.kind is NoteKind.RECEIVED:
                delivered += len(note.events)
                distinct.update((name, position) for position, _ in note.events)
    return delivered, delivered - len(distinct)


def _worst_stall(evidence: Evidence, since: float) -> float:
    return max(
        (stall for name in evidence.subscriptions for stall in stalls(evidence, name, since)),
        default=0.0,
    )


def _worst_takeover(evidence: Evidence) -> float:
    """Return the longest time from the last renewal of an owner that vanished to its successor."""
    return max(
        (c.idle for c in evidence.changes if c.is_claim and c.owner_before and c.idle is not None),
        default=0.0,
    )
