"""Choose the events of a filter among those that a storage read."""

from __future__ import annotations

from eventstore.client.codec import Codec
from eventstore.model.errors import SerializationError
from eventstore.model.event_filter import EventFilter
from eventstore.ports.stored_events import StoredEvent

__all__ = ["Filtering"]


class Filtering:
    """A filter as one store uses it. Its serializer may be code of the application."""

    def __init__(self, event_filter: EventFilter, codec: Codec) -> None:
        self.event_filter = codec.with_all_names(event_filter)
        """With every name that its types have in this store."""
        self._codec = codec

    def left(self, events: list[StoredEvent]) -> list[StoredEvent]:
        """Return those of a page that match, now that they are here."""
        if not self.event_filter.metadata:
            return events
        return [event for event in events if self.wants(event)]

    def wants(self, stored: StoredEvent) -> bool:
        """Return whether an event matches. Also True if nobody can tell: its reader says why."""
        decided = self.event_filter.decide(stored)
        if decided is not None:
            return decided
        try:
            metadata = self._codec.decode_metadata(stored)
        except SerializationError:
            return True
        return self.event_filter.matches_metadata(metadata)
