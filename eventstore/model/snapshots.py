"""Snapshots before and after they are stored. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from eventstore.model.events import EventData
from eventstore.model.names import check_name

__all__ = ["Snapshot", "SnapshotData", "as_event"]


class SnapshotData(msgspec.Struct, frozen=True):
    """A snapshot to record: what the events of a stream come to.

    Args:
        snapshot_type: Name of the type, 1 to 1,000 bytes of UTF-8. A new name, when the same data
            means something else than before, keeps the snapshots of older code apart.
        data: The payload: any value that the store's serializer accepts.
        metadata: Data about the snapshot, such as who made it. Defaults to None.

    Raises:
        TypeError, ValueError: *snapshot_type* is no name.
    """

    snapshot_type: str
    data: Any
    metadata: Any = None

    def __post_init__(self) -> None:
        force_setattr(self, "snapshot_type", check_name("snapshot_type", self.snapshot_type))

    @classmethod
    def of(cls, payload: object, metadata: Any = None) -> SnapshotData:
        """Return a snapshot with *payload* as its data; `Config.types` names its class.

        The store looks that name up; until then `snapshot_type` is the name of the class.
        """
        return _TypedSnapshotData(type(payload).__name__, payload, metadata)


class _TypedSnapshotData(SnapshotData, frozen=True):
    """A snapshot whose type name is looked up by the class of its data."""


def as_event(snapshot: SnapshotData) -> EventData:
    """Return an event with the payloads of *snapshot*: they are stored in the same way."""
    if type(snapshot) is _TypedSnapshotData:
        return EventData.of(snapshot.data, snapshot.metadata)
    return EventData(snapshot.snapshot_type, snapshot.data, snapshot.metadata)


class Snapshot(msgspec.Struct, frozen=True):
    """A snapshot as it is stored: the newest of its type."""

    stream_id: str
    stream_version: int
    """Version of the last event that is in it."""
    snapshot_type: str
    data: Any
    metadata: Any
    created_at: datetime
    """When it was recorded, in UTC."""
