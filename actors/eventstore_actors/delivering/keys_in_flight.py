"""Which keys have a batch in flight: the next one of such a key waits. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from eventstore_actors.delivering.parcels import Parcel, ParcelQueue

__all__ = ["KeysInFlight"]


class KeysInFlight:
    """The keys of the events in flight, for a delivery. Operations are O(1) amortised per event."""

    def __init__(self, most: int) -> None:
        self._most = most
        """Most events in flight."""
        self._ends: dict[str, int] = {}
        """The last position of each key that was in flight; some are acknowledged."""

    def holds(self, key: str, in_flight: ParcelQueue) -> bool:
        """Return whether an event of *key* is in flight."""
        parcels = in_flight.parcels
        return bool(parcels) and self._ends.get(key, -1) >= parcels[0].position

    def sent(self, batch: Sequence[Parcel], in_flight: ParcelQueue) -> None:
        """Note a batch that is about to be *in_flight* behind the others."""
        if not in_flight.parcels:
            self._ends.clear()
        elif len(self._ends) > 2 * self._most:
            oldest = in_flight.parcels[0].position
            self._ends = {key: end for key, end in self._ends.items() if end >= oldest}
        self._ends.update((parcel.stream_id, parcel.position) for parcel in batch)

    def taken_back(self, after: int) -> None:
        """Forget what is not in flight any more: everything after *after*."""
        # Of a batch of which a part stays, that part.
        self._ends = {key: min(end, after) for key, end in self._ends.items()}
