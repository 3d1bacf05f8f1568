"""Measures the stalls: how long an event was due and did not come. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tests.torture.evidence import Attempt, Evidence, Note
from tests.torture.links import LINKED, Link

__all__ = ["stalls"]


def stalls(evidence: Evidence, name: str, since: float) -> Iterator[float]:
    """Yield for how long each event was the next one due, from the moment *since* on.

    An event is due when it is reported as stored and everything before it is delivered. One that
    was never delivered stalled for ever.
    """
    if evidence.subscriptions[name] == LINKED:
        stored_at = _linked_at(evidence.links)
    else:
        stored_at = _stored_at(evidence.attempts)
    delivered_at = _delivered_at(evidence.notes_about(name))
    before = since
    for _, event_id in evidence.expected(name):
        delivered = delivered_at.get(event_id, math.inf)
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


def _linked_at(links: Sequence[Link]) -> dict[str, float]:
    return {i: link.linked_at for link in links if link.linked_at is not None for i in link.ids}


def _delivered_at(notes: Mapping[str, Sequence[Note]]) -> dict[str, float]:
    first: dict[str, float] = defaultdict(lambda: math.inf)
    for each in notes.values():
        for note in each:
            for _, event_id in note.events:
                first[event_id] = min(first[event_id], note.at)
    return first
