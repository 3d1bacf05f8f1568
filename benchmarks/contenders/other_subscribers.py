"""Catch-up in the other stores, with their own way of storing a position."""

from __future__ import annotations

from itertools import islice
from uuid import uuid4

import msgspec

from benchmarks.contenders.eventsourcing import EventSourcing
from benchmarks.contenders.uma import Uma

__all__ = ["catch_up_in_eventsourcing", "catch_up_in_uma"]

_PER_TRACKING = 500
"""Events per stored position; the store itself is designed for one per event."""

_decode = msgspec.json.Decoder().decode


def catch_up_in_uma(uma: Uma, number: int) -> int:
    """Read the newest *number* events of a subscription and track each of its batches."""
    import umadb

    head = uma.client.head()
    source, read = f"catch-up-{uuid4()}", 0
    subscription = uma.client.subscribe(after=head - number)
    while read < number:
        batch = subscription.next_batch()
        read += len([_decode(sequenced.event.data) for sequenced in batch])
        uma.client.append([], None, umadb.TrackingInfo(source, batch[-1].position))
    subscription.cancel()
    return read


def catch_up_in_eventsourcing(store: EventSourcing, number: int) -> int:
    """Read the newest *number* notifications of a subscription and track every 500th."""
    from eventsourcing.persistence import Tracking
    from eventsourcing.postgres import PostgresTrackingRecorder

    tracking = PostgresTrackingRecorder(store.recorder.datastore)
    tracking.create_table()
    head = store.recorder.max_notification_id()
    source, read = f"catch-up-{uuid4()}", 0
    with store.recorder.subscribe(gt=head - number) as subscription:
        while read < number:
            some = list(islice(subscription, min(_PER_TRACKING, number - read)))
            read += len([_decode(notification.state) for notification in some])
            tracking.insert_tracking(Tracking(source, some[-1].id))
    return read
