"""Measures the takeovers: how long a subscription had no owner, and how much is excused. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.torture.evidence import Change, Evidence, Trouble
from tests.torture.plan import Kind

__all__ = ["RECOVERY", "Takeover", "place_of", "takeovers"]

RECOVERY = 2.0
"""Seconds that a runtime needs to connect and subscribe again, on a busy machine."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """The claim of a subscription that had another owner before."""

    name: str
    due: float
    """When the lease was released or expired."""
    at: float
    was_released: bool
    excused: float
    """Seconds after *due* in which every other runtime was hurt, too."""

    @property
    def waited(self) -> float:
        return self.at - self.due

    @property
    def late(self) -> float:
        return self.waited - self.excused


def takeovers(evidence: Evidence) -> Iterator[Takeover]:
    """Yield every takeover, in the order of the claims."""
    owners: dict[str, str] = {}
    released: dict[str, float] = {}
    for change in evidence.changes:
        if change.name not in evidence.subscriptions:
            continue
        if change.is_claim:
            former = owners.get(change.name)
            if former is not None:
                yield _takeover(evidence, change, former, released.get(change.name))
            owners[change.name] = change.process
            released.pop(change.name, None)
        elif change.owner is None and change.owner_before is not None:
            released[change.name] = change.at


def _takeover(
    evidence: Evidence, claim: Change, former: str, released_at: float | None
) -> Takeover:
    renewed_at = claim.at - (claim.idle or 0.0)
    due = renewed_at + evidence.lease if released_at is None else released_at
    recovery = RECOVERY
    if released_at is None and _clock_went_back(evidence.troubles, renewed_at, claim.at):
        recovery += evidence.lease
    others = evidence.runtimes - {place_of(former)}
    excused = _all_hurt(evidence.troubles, others, due, claim.at, recovery)
    return Takeover(claim.name, due, claim.at, released_at is not None, excused)


def _clock_went_back(troubles: Sequence[Trouble], begin: float, end: float) -> bool:
    """Return whether a lease renewed at *begin* says nothing at *end*.

    Then who looks at it must see it unchanged for as long as a lease, from its own first look.
    """
    return any(
        trouble.kind is Kind.CLOCK_BACK and begin < trouble.began < end for trouble in troubles
    )


def place_of(process: str) -> int:
    """Return the place of a runtime from its name, torture-readers-PLACE-GENERATION."""
    return int(process.rsplit("-", 2)[1])


def _all_hurt(
    troubles: Sequence[Trouble],
    runtimes: frozenset[int],
    begin: float,
    end: float,
    recovery: float,
) -> float:
    """Return the seconds between *begin* and *end* in which all of *runtimes* were hurt.

    Args:
        recovery: Seconds that a runtime is hurt for beyond the end of a trouble.
    """
    hurt = [
        (max(begin, trouble.began), min(end, trouble.ended + recovery), trouble.runtimes)
        for trouble in troubles
        if trouble.began < end and trouble.ended + recovery > begin
    ]
    edges = sorted({edge for left, right, _ in hurt for edge in (left, right)})
    return sum(
        right - left
        for left, right in pairwise(edges)
        if runtimes.issubset(
            place
            for since, until, places in hurt
            if since <= left and right <= until
            for place in places
        )
    )
