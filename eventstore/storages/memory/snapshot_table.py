"""The snapshots of a store in memory. Pure: no lock, no clock."""

from __future__ import annotations

from datetime import datetime

import msgspec

from eventstore.model.checks import check_within
from eventstore.model.errors import StreamDeletedError
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_events import StoredEvent
from eventstore.ports.stored_snapshots import EncodedSnapshot, StoredSnapshot
from eventstore.storages.memory.event_log import EventLog

__all__ = ["SnapshotTable"]


class SnapshotTable:
    """The newest snapshot of each type of each stream; see `SnapshotStorage`."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._snapshots: dict[tuple[str, str], StoredSnapshot] = {}
        """By stream and type."""

    def record(
        self, stream_id: str, stream_version: int, snapshot: EncodedSnapshot, now: datetime
    ) -> bool:
        """Record *snapshot*; see `SnapshotStorage.record_snapshot`."""
        self._check_readable(stream_id)
        check_within("stream_version", stream_version, stream_id, self._log.head_of(stream_id))
        new = StoredSnapshot(stream_id, stream_version, now, *msgspec.structs.astuple(snapshot))
        key = stream_id, snapshot.snapshot_type
        old = self._snapshots.get(key)
        if old is not None and old.stream_version > stream_version:
            return False
        if old != msgspec.structs.replace(new, created_at=old.created_at if old else now):
            self._snapshots[key] = new
        return True

    def read(self, stream_id: str, snapshot_type: str) -> StoredSnapshot | None:
        """Return the snapshot of this type; see `SnapshotStorage.read_snapshot`."""
        self._check_readable(stream_id)
        return self._snapshots.get((stream_id, snapshot_type))

    def read_from(
        self, stream_id: str, snapshot_type: str, count: int
    ) -> tuple[StoredSnapshot | None, list[StoredEvent]]:
        """Return snapshot and events after it; see `SnapshotStorage.read_from_snapshot`."""
        snapshot = self.read(stream_id, snapshot_type)
        start = 1 if snapshot is None else snapshot.stream_version + 1
        return snapshot, self._log.read_stream(stream_id, start, count, ReadDirection.FORWARD)

    def delete(self, stream_id: str, snapshot_type: str) -> bool:
        """Delete the snapshot of this type; see `SnapshotStorage.delete_snapshot`."""
        return self._snapshots.pop((stream_id, snapshot_type), None) is not None

    def forget(self, stream_id: str) -> None:
        """Delete the snapshots of a stream that is gone."""
        for key in [key for key in self._snapshots if key[0] == stream_id]:
            del self._snapshots[key]

    def _check_readable(self, stream_id: str) -> None:
        deleted_at = self._log.stream_info(stream_id).deleted_at
        if deleted_at is not None:
            raise StreamDeletedError(stream_id, deleted_at)
