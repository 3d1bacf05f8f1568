"""Measures how long after its deletion for good an event was still delivered. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.torture.deletions import Deletion, Erased
from tests.torture.evidence import Evidence
from tests.torture.takeovers import RECOVERY, place_of

__all__ = ["LateDelivery", "late_deliveries"]


@dataclass(frozen=True, slots=True)
class LateDelivery:
    """The delivery of an event after its deletion, by a runtime that could know of it."""

    name: str
    process: str
    position: int
    deletion: Deletion
    seconds: float
    """After the deletion."""


def late_deliveries(evidence: Evidence, erased: Erased, name: str) -> Iterator[LateDelivery]:
    """Yield what a subscription received after its deletion, but by runtimes that were hurt."""
    stream_id = evidence.subscriptions[name]
    for process, notes in evidence.notes_about(name).items():
        for note in notes:
            for position, event_id in note.events:
                deletion = erased.deletion_of(stream_id, position, event_id)
                if deletion is None or note.at <= deletion.at:
                    continue
                if not _was_hurt(evidence, process, deletion.at, note.at):
                    seconds = note.at - deletion.at
                    yield LateDelivery(name, process, position, deletion, seconds)


def _was_hurt(evidence: Evidence, process: str, begin: float, end: float) -> bool:
    place = place_of(process)
    return any(
        place in trouble.runtimes and trouble.began < end and begin < trouble.ended + RECOVERY
        for trouble in evidence.troubles
    )
