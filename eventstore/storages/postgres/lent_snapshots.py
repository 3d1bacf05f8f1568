"""The part of the storage port for snapshots, over connections that are lent for each call."""

from __future__ import annotations

from eventstore.ports.stored_events import StoredEvent
from eventstore.ports.stored_snapshots import EncodedSnapshot, StoredSnapshot
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.lender import Lender
from eventstore.storages.postgres.lent_reads import LentReads
from eventstore.storages.postgres.snapshot_rows import SnapshotRows

__all__ = ["LentSnapshots"]


class LentSnapshots(LentReads):
    """Records, reads and deletes snapshots; see `SnapshotStorage`."""

    _pool: Lender
    """Lends the connections for changes."""
    _snapshots: SnapshotRows

    def record_snapshot(
        self, stream_id: str, stream_version: int, snapshot: EncodedSnapshot, deadline: float
    ) -> bool:
        """Record a snapshot; see `SnapshotStorage.record_snapshot`."""
        return self._pool.run(
            lambda c: self._snapshots.record(c, stream_id, stream_version, snapshot, deadline),
            deadline,
            "recording a snapshot failed",
        )

    def read_snapshot(
        self, stream_id: str, snapshot_type: str, deadline: float
    ) -> StoredSnapshot | None:
        """Return a snapshot; see `SnapshotStorage.read_snapshot`."""
        return self._read(
            "reading a snapshot",
            lambda c: self._snapshots.read(c, stream_id, snapshot_type, deadline),
            deadline,
        )

    def read_from_snapshot(
        self, stream_id: str, snapshot_type: str, count: int, deadline: float
    ) -> tuple[StoredSnapshot | None, list[StoredEvent]]:
        """Return snapshot and events after it; see `SnapshotStorage.read_from_snapshot`."""
        return self._read(
            "reading a stream from its snapshot",
            lambda c: self._snapshots.read_from(c, stream_id, snapshot_type, count, deadline),
            deadline,
        )

    def delete_snapshot(self, stream_id: str, snapshot_type: str, deadline: float) -> bool:
        """Delete a snapshot; see `SnapshotStorage.delete_snapshot`."""
        attempts = 0

        def delete(connection: GuardedConnection) -> bool:
            nonlocal attempts
            attempts += 1
            return self._snapshots.delete(connection, stream_id, snapshot_type, deadline)

        found = self._pool.run(delete, deadline, "deleting a snapshot failed")
        # On a retry it may be missing because the first attempt deleted it.
        return found or attempts > 1
