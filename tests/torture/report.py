"""The report of a torture, in lines of 80 columns. Pure."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tests.torture.evidence import Evidence, NoteKind, Outcome
from tests.torture.lateness import late_deliveries
from tests.torture.stalls import stalls
from tests.torture.takeovers import Takeover, takeovers
from tests.torture.verdict import Violation

__all__ = ["reasons", "report"]

_MOST_OF_A_KIND = 3
_LONGEST_CASE = 600
_WIDTH = 79
_LABEL = 13


def report(evidence: Evidence) -> Iterator[str]:
    """Yield the lines of the report."""
    yield from _line("appends", _appends(evidence))
    yield from _line("events", f"{len(evidence.stored):,} stored")
    yield from _line("deletions", _deletions(evidence))
    yield from _line("snapshots", _snapshots(evidence))
    yield from _line("parking", _parking(evidence))
    yield from _line("faults", _faults(evidence))
    yield from _line("deliveries", _deliveries(evidence))
    taken = list(takeovers(evidence))
    yield from _line("takeovers", _taken(evidence, [t for t in taken if not t.was_released]))
    yield from _line("handovers", _handed_over([t for t in taken if t.was_released]))
    during, after = _worst_stall(evidence, 0.0), _worst_stall(evidence, evidence.calm_since)
    yield from _line("worst stall", f"{after:.2f} s after the last fault, {during:.2f} s in all")
    overdue = max((attempt.overdue for attempt in evidence.attempts), default=0.0)
    yield from _line("worst delay", f"{overdue:.2f} s of an append beyond its deadline")


def reasons(violations: Sequence[Violation]) -> Iterator[str]:
    """Yield a line for each broken guarantee, and a few of its cases below."""
    for broken, count in Counter(violation.broken for violation in violations).items():
        yield f"BROKEN, {count:,} times: {broken}"
        cases = [violation.details for violation in violations if violation.broken is broken]
        for case in cases[:_MOST_OF_A_KIND]:
            yield from _wrapped(f"  - {case[:_LONGEST_CASE]}", indent=4)


def _line(label: str, text: str) -> Iterator[str]:
    return _wrapped(f"{label:<{_LABEL}}{text}", _LABEL)


def _wrapped(text: str, indent: int) -> Iterator[str]:
    yield from textwrap.wrap(text, _WIDTH, subsequent_indent=" " * indent)


def _appends(evidence: Evidence) -> str:
    outcomes = Counter(attempt.outcome for attempt in evidence.attempts)
    doubtful = sum(attempt.doubtful for attempt in evidence.attempts)
    known = _listed({outcome.value: outcomes[outcome] for outcome in Outcome})
    return f"{len(evidence.attempts):,}: {known}; {doubtful:,} were unknown at first"


def _deletions(evidence: Evidence) -> str:
    gone = sum(last - first + 1 for one in evidence.deletions for first, last in one.ranges)
    return (
        f"{len(evidence.deletions):,} streams for good, with {gone:,} events,"
        f" {_last_seen(evidence)}; {len(evidence.closed):,} closed"
    )


def _last_seen(evidence: Evidence) -> str:
    erased = evidence.erased()
    late = [
        each.seconds
        for name in evidence.subscriptions
        for each in late_deliveries(evidence, erased, name)
    ]
    return f"{len(late):,} delivered afterwards, up to {max(late, default=0.0):.2f} s"


def _snapshots(evidence: Evidence) -> str:
    seen = sum(look.is_look and look.error is None for look in evidence.looks)
    return f"{sum(not look.is_look for look in evidence.looks):,} recorded, {seen:,} looks"


def _parking(evidence: Evidence) -> str:
    again = sum(event.replay for event in evidence.handled)
    skipped = sum(event.skipped_at is not None for event in evidence.parked)
    return (
        f"{len(evidence.handled):,} handled, {again:,} of them after they were parked;"
        f" {skipped:,} skipped, {len(evidence.parked) - skipped:,} parked at the end"
    )


def _faults(evidence: Evidence) -> str:
    kinds = Counter(trouble.kind.value for trouble in evidence.troubles)
    return f"{kinds.total():,} of {len(kinds)} kinds: {_listed(kinds)}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())


def _deliveries(evidence: Evidence) -> str:
    delivered = 0
    distinct: set[tuple[str, int]] = set()
    for (_, name), notes in evidence.notes.items():
        for note in notes:
            if note.kind is NoteKind.RECEIVED:
                delivered += len(note.events)
                distinct.update((name, position) for position, _ in note.events)
    again = delivered - len(distinct)
    return (
        f"{delivered:,} to {len(evidence.subscriptions)} subscriptions,"
        f" {again:,} of them redeliveries"
    )


def _taken(evidence: Evidence, takeovers: Sequence[Takeover]) -> str:
    if not takeovers:
        return "none"
    settings = f"lease {evidence.lease:g} s, poll {evidence.poll_interval:g} s"
    return f"{_worst(takeovers, evidence.lease)} after the last renewal ({settings})"


def _handed_over(takeovers: Sequence[Takeover]) -> str:
    return f"{_worst(takeovers, 0.0)} after the release" if takeovers else "none"


def _worst(takeovers: Sequence[Takeover], allowed: float) -> str:
    late = allowed + max(takeover.late for takeover in takeovers)
    waited = allowed + max(takeover.waited for takeover in takeovers)
    return f"{len(takeovers):,}, the worst {late:.2f} s ({waited:.2f} s with all runtimes hurt)"


def _worst_stall(evidence: Evidence, since: float) -> float:
    return max(
        (stall for name in evidence.subscriptions for stall in stalls(evidence, name, since)),
        default=0.0,
    )
