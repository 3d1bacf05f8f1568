"""Names the events that user code failed with, for people. Pure."""

from __future__ import annotations

from eventstore.model.events import RecordedEvent
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.delivering.delivery import Delivery
from eventstore_actors.delivering.parcels import Parcel

__all__ = ["failed_batch", "failed_reading"]


def failed_batch(delivery: Delivery, events: int) -> str:
    """Name the first event that is not acknowledged of a batch of *events*."""
    size = "1 event" if events == 1 else f"{events} events"
    first = delivery.oldest_in_flight
    if first is None:
        return f"batch of {size} up to position {delivery.checkpoint}"
    return f"batch of {size} from {_delivered(first)}"


def failed_reading(failed: StoredEvent) -> str:
    """Name the event that could not be prepared."""
    return _named(failed.position, failed.stream_id, failed)


def _delivered(parcel: Parcel) -> str:
    # A mapper may return anything; `isinstance` would ask such an object for its class.
    is_event = issubclass(type(parcel.event), RecordedEvent)
    return _named(parcel.position, parcel.stream_id, parcel.event if is_event else None)


def _named(position: int, stream_id: str, event: RecordedEvent | StoredEvent | None) -> str:
    place = f"position {position}, stream {stream_id!r}"
    return place if event is None else f"{place}, type {event.event_type!r}, id {event.event_id}"
