"""The parked events of a store in memory. Pure: no lock, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from eventstore.model.parked import ParkedEvent
from eventstore.ports.parking import (
    Choice,
    Dropped,
    ParkedKey,
    ParkedPlace,
    Parking,
    ParkingOutcome,
    Why,
)

__all__ = ["ParkedTable"]


@dataclass(slots=True)
class ParkedTable:
    """Every parked event, by subscription and position. Skipped ones stay, with their reason."""

    _rows: dict[int, dict[int, ParkedEvent]] = field(default_factory=dict)
    _skipped: dict[int, dict[int, tuple[ParkedEvent, str]]] = field(default_factory=dict)

    def park(self, subscription_id: int, parking: Parking, now: datetime) -> ParkingOutcome:
        """Put events aside, all or none; the caller has checked the fence."""
        keys = Counter(row.key for row in self.of(subscription_id))
        if parking.follows and any(event.key not in keys for event in parking.events):
            return ParkingOutcome.NOT_PARKED
        rows = self._rows.setdefault(subscription_id, {})
        skipped = self._skipped.get(subscription_id, {})
        more = Counter(
            event.key
            for event in parking.events
            if event.position not in rows and event.position not in skipped
        )
        most = parking.most
        if most is not None and keys.total() + more.total() > most.events:
            return ParkingOutcome.TOO_MANY
        if most is not None and any(keys[key] + n > most.of_key for key, n in more.items()):
            return ParkingOutcome.TOO_MANY_OF_KEY
        for event in parking.events:
            if event.position in skipped:
                continue
            known = rows.get(event.position)
            if known is None or not parking.follows:
                rows[event.position] = _parked(event, parking, known, now)
        return ParkingOutcome.DONE

    def unpark(
        self, subscription_id: int, delivered: Mapping[str, int], gone: Collection[int]
    ) -> set[str]:
        """Remove the marked events of each key up to a position, and those that are *gone*.

        Returns:
            The keys that are left.
        """
        self._drop(
            subscription_id,
            lambda row: (
                row.is_marked
                and (row.position <= delivered.get(row.key, 0) or row.position in gone)
            ),
        )
        rows = self._rows.get(subscription_id, {}).values()
        return {row.key for row in rows if row.key in delivered}

    def keep(self, subscription_id: int, event: ParkedPlace, why: Why, now: datetime) -> None:
        """Leave the events of a key parked, the first of which failed again."""
        rows = self._rows.get(subscription_id, {})
        failed = rows.get(event.position)
        for position, row in rows.items():
            if row.key == event.key:
                rows[position] = replace(row, is_marked=False)
        # Once: if the answer is lost and this comes again, it is marked no more.
        if failed is not None and failed.is_marked:
            rows[event.position] = replace(
                failed,
                reason=why.reason,
                error=why.error,
                attempts=failed.attempts + why.attempts,
                failed_at=now,
                is_marked=False,
            )

    def skip(self, subscription_id: int, position: int, reason: str) -> None:
        """Give up an event; it stays, with *reason*, among the skipped ones."""
        rows = self._rows.get(subscription_id, {})
        if position in rows:
            skipped = self._skipped.setdefault(subscription_id, {})
            skipped[position] = (rows.pop(position), reason)

    def keys(self, subscription_id: int) -> list[ParkedKey]:
        """Return the parked keys, by their oldest event."""
        rows = self.of(subscription_id)
        counts = Counter(row.key for row in rows)
        marked = {row.key: row.position for row in rows if row.is_marked}
        return [ParkedKey(key, marked.get(key), events) for key, events in counts.items()]

    def marked(
        self, subscription_id: int, keys: Sequence[str], after: int
    ) -> Iterable[ParkedEvent]:
        """Return the marked events of *keys*, key by key; of the first, after position *after*."""
        rows = self.of(subscription_id)
        for key in keys:
            first = after if key == keys[0] else 0
            yield from (r for r in rows if r.key == key and r.position > first and r.is_marked)

    def of(self, subscription_id: int, after: int = 0) -> list[ParkedEvent]:
        """Return the parked events of a subscription after a position, by position."""
        rows = self._rows.get(subscription_id, {})
        return [rows[position] for position in sorted(rows) if position > after]

    def choose(self, subscription_id: int, choice: Choice) -> int:
        """Mark or skip the oldest events. Return their number."""
        found = (r for r in self.of(subscription_id) if choice.key is None or r.key == choice.key)
        chosen = list(islice(found, choice.limit))
        if not choice.dry_run:
            self._choose(subscription_id, chosen, choice.skip_reason)
        return len(chosen)

    def forget_after(self, subscription_id: int, position: int) -> Dropped:
        """Remove the events of a subscription after *position*; skipped ones, too.

        Returns:
            What was parked of them.
        """
        positions = [row.position for row in self.of(subscription_id, position)]
        self._drop(subscription_id, lambda row: row.position > position)
        skipped = self._skipped.get(subscription_id, {})
        for each in [each for each in skipped if each > position]:
            del skipped[each]
        if not positions:
            return Dropped()
        return Dropped(len(positions), positions[0], positions[-1])

    def forget_stream(self, stream_id: str) -> None:
        """Remove the events of a stream that is gone."""
        for subscription_id in self._rows:
            self._drop(subscription_id, lambda row: row.key == stream_id)

    def _choose(
        self, subscription_id: int, chosen: Sequence[ParkedEvent], skip_reason: str | None
    ) -> None:
        rows = self._rows.get(subscription_id, {})
        for row in chosen:
            if skip_reason is None:
                rows[row.position] = replace(row, is_marked=True)
            else:
                self.skip(subscription_id, row.position, skip_reason)

    def _drop(self, subscription_id: int, chosen: Callable[[ParkedEvent], bool]) -> None:
        rows = self._rows.get(subscription_id, {})
        for row in [row for row in rows.values() if chosen(row)]:
            del rows[row.position]


def _parked(
    event: ParkedPlace, parking: Parking, known: ParkedEvent | None, now: datetime
) -> ParkedEvent:
    why = parking.why
    return ParkedEvent(
        key=event.key,
        position=event.position,
        global_position=event.global_position,
        reason=why.reason,
        error=why.error,
        attempts=why.attempts,
        parked_at=now if known is None else known.parked_at,
        failed_at=None if parking.follows else now,
        is_marked=known is not None and known.is_marked,
    )
