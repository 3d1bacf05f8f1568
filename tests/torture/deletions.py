"""What was deleted under torture: what the writers were told, what the database says. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.torture.journal import Entry

__all__ = ["DOOMED", "Deletion", "Erased", "Request", "broken_deletions", "is_doomed", "requests"]

_PREFIX = "doomed-"

DOOMED = [f"{_PREFIX}{number}" for number in range(3)]
"""Streams that are deleted for good, and created again by the next append."""


def is_doomed(stream_id: str) -> bool:
    """Return whether a stream may be deleted for good."""
    return stream_id.startswith(_PREFIX)


@dataclass(slots=True)
class Request:
    """A deletion that a writer asked for, and what it was told."""

    stream_id: str
    hard: bool
    began_at: float
    tries: int = 0
    done_at: float | None = None
    """When it was told that the stream is deleted. Without an answer it may be."""
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion for good, as the database has it."""

    stream_id: str
    at: float
    """Just before its commit."""
    ranges: Sequence[tuple[int, int]]
    """First and last of the erased positions."""
    is_erased: bool = True


def requests(journal: Iterable[Entry]) -> list[Request]:
    """Return the deletions that one writer asked for."""
    found: dict[str, Request] = {}
    for entry in journal:
        match entry["what"]:
            case "deleting":
                request = Request(entry["stream"], entry["hard"], entry["at"])
                found.setdefault(entry["deletion"], request).tries += 1
            case "deleted":
                found[entry["deletion"]].done_at = entry["at"]
            case "not deleted":
                found[entry["deletion"]].errors.append(entry["error"])
    return list(found.values())


def broken_deletions(
    told: Sequence[Request], deletions: Sequence[Deletion], closed: Iterable[str]
) -> Iterator[str]:
    """Yield what is wrong with the *deletions* for good, and with the streams that are *closed*."""
    for request in told:
        yield from request.errors
    known = Counter(deletion.stream_id for deletion in deletions)
    for stream_id, times in known.items():
        tries = sum(one.tries for one in told if one.hard and one.stream_id == stream_id)
        if times > tries:
            yield f"{stream_id} was deleted {times} times, in {tries} tries"
    left = [deletion for deletion in deletions if not deletion.is_erased]
    if left:
        yield f"not erased: {left[:3]}"
    closings = [request for request in told if not request.hard]
    if open_again := {one.stream_id for one in closings if one.done_at} - {*closed}:
        yield f"not closed any more: {sorted(open_again)[:3]}"
    if strangers := {*closed} - {one.stream_id for one in closings}:
        yield f"nobody closed {sorted(strangers)[:3]}"


class Erased:
    """The places of the events that are gone. An event may have been delivered before it went."""

    def __init__(
        self, deletions: Sequence[Deletion], reported: Mapping[int, str], sent: Mapping[str, str]
    ) -> None:
        """Take what the database and the writers know.

        Args:
            deletions: In their order.
            reported: Ids by position, as the writers were told.
            sent: The streams by id that events were sent to. An event may have been stored without
                an answer, then deleted, and stored once more by the next try.
        """
        self._reported = reported
        self._sent = sent
        self.places: dict[int, tuple[Deletion, int]] = {}
        """By position: the deletion, and the version that the event had in its stream."""
        self.repeated: list[int] = []
        self._known: dict[tuple[str, int, str], Deletion] = {}
        """By stream, version and id."""
        self._unknown: set[tuple[str, int]] = set()
        """Stream and version of events whose ids no writer was told."""
        for deletion in deletions:
            self._take(deletion)
        self._positions = sorted(self.places)

    def _take(self, deletion: Deletion) -> None:
        # A stream that is deleted for good holds events alone, so their order gives the versions.
        version = 0
        for first, last in sorted(deletion.ranges):
            for position in range(first, last + 1):
                version += 1
                if position in self.places:
                    self.repeated.append(position)
                self.places[position] = deletion, version
                place = deletion.stream_id, version
                if position in self._reported:
                    self._known[*place, self._reported[position]] = deletion
                else:
                    self._unknown.add(place)

    def fill(self, after: int, before: int) -> bool:
        """Return whether *before* is beyond *after*, and all between them is erased."""
        erased = bisect_left(self._positions, before) - bisect_left(self._positions, after + 1)
        return after < before and erased == before - after - 1

    def starts_of(self, position: int) -> range:
        """Return from where a delivery run may start, if it starts with this position."""
        return range(self.lowest(position - 1), position)

    def lowest(self, position: int) -> int:
        """Return the highest position up to *position* that is not erased, or 0."""
        while position in self.places:
            position -= 1
        return position

    def was_at(self, stream_id: str, version: int, position: int) -> bool:
        """Return whether an event that is gone had this place."""
        deletion, its_version = self.places.get(position, (None, 0))
        return deletion is not None and (deletion.stream_id, its_version) == (stream_id, version)

    def deletion_of(self, stream_id: str, position: int, event_id: str) -> Deletion | None:
        """Return what deleted an event that a subscription to a stream, or to ``$all``, received.

        Returns:
            None if it is not known, or if the event was never there.
        """
        if stream_id != "$all":
            return self._known.get((stream_id, position, event_id))
        deletion, _ = self.places.get(position, (None, 0))
        if deletion is None:
            return None
        is_possible = self._sent.get(event_id) == deletion.stream_id
        return (
            deletion if self._reported.get(position, event_id) == event_id and is_possible else None
        )

    def may_have_been(self, stream_id: str, position: int, event_id: str) -> bool:
        """Return whether an event that is gone may have been delivered as this one."""
        is_possible = (stream_id, position) in self._unknown
        if is_possible and self._sent.get(event_id) == stream_id:
            return True
        return self.deletion_of(stream_id, position, event_id) is not None
