"""Record and read snapshots, and read a stream from its snapshot on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eventstore.client.codec import Codec, as_stored_bytes, as_stored_snapshot
from eventstore.client.paging import PAGE, Decode, listed, unfiltered
from eventstore.model.checks import shown
from eventstore.model.errors import SerializationError, StreamNotFoundError
from eventstore.model.events import RecordedEvent
from eventstore.model.snapshots import Snapshot, SnapshotData
from eventstore.ports.reads import Examined, ReadDirection
from eventstore.ports.storage import Storage
from eventstore.ports.stored_snapshots import StoredSnapshot
from eventstore.ports.waits import Waits

__all__ = ["Snapshots"]


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The calls of a store that are about snapshots. Those that are no coroutines block."""

    codec: Codec
    storage: Storage
    deadline: Callable[[], float]
    """Returns the deadline of a call that begins now."""

    async def record(
        self,
        stream_id: str,
        stream_version: int,
        snapshot: SnapshotData,
        connection: object | None,
        waits: Waits,
    ) -> bool:
        """Record *snapshot*; see `EventStore.record_snapshot`."""
        if not isinstance(snapshot, SnapshotData):
            raise TypeError(
                f"snapshot must be SnapshotData, not {type(snapshot).__name__}: {shown(snapshot)}"
            )
        encoded = await waits.call(self.codec.encode_snapshot, snapshot)
        place = stream_id, stream_version, encoded, self.deadline()
        if connection is None:
            return await waits.call(self.storage.record_snapshot, *place)
        # It takes no write lock, so nobody waits for this transaction.
        transaction = await self.storage.join(connection, place[-1], waits)
        return await transaction.record_snapshot(*place)

    def read(self, stream_id: str, snapshot_type: str, *, raw: bool) -> Snapshot | None:
        """Return a snapshot; see `EventStore.read_snapshot`."""
        stored = self.storage.read_snapshot(stream_id, snapshot_type, self.deadline())
        return self._usable(stored, raw=raw)

    def read_stream(
        self, stream_id: str, snapshot_type: str, *, missing_ok: bool, raw: bool
    ) -> tuple[Snapshot | None, list[RecordedEvent]]:
        """Return snapshot and events after it; see `EventStore.read_stream_from_snapshot`."""
        try:
            stored, page = self.storage.read_from_snapshot(
                stream_id, snapshot_type, PAGE, self.deadline()
            )
        except StreamNotFoundError:
            if missing_ok:
                return None, []
            raise
        decode: Decode = as_stored_bytes if raw else self.codec.decode
        snapshot = self._usable(stored, raw=raw)
        if stored is not None and snapshot is None:
            return None, self._events(stream_id, 1, decode)
        events = list(map(decode, page))
        if len(page) == PAGE:
            events += self._events(stream_id, page[-1].position + 1, decode)
        return snapshot, events

    async def delete(
        self, stream_id: str, snapshot_type: str, connection: object | None, waits: Waits
    ) -> bool:
        """Delete a snapshot; see `EventStore.delete_snapshot`."""
        key = stream_id, snapshot_type, self.deadline()
        if connection is None:
            return await waits.call(self.storage.delete_snapshot, *key)
        transaction = await self.storage.join(connection, key[-1], waits)
        return await transaction.delete_snapshot(*key)

    def _usable(self, stored: StoredSnapshot | None, *, raw: bool) -> Snapshot | None:
        """Return *stored* decoded; None if it cannot be read: events say all that it says."""
        if stored is None:
            return None
        if raw:
            return as_stored_snapshot(stored)
        try:
            return self.codec.decode_snapshot(stored)
        except SerializationError as error:
            from eventstore.model.log import get_logger  # loads structlog, which is seldom needed

            get_logger().info("snapshot ignored", stream_id=stored.stream_id, reason=str(error))
            return None

    def _events(self, stream_id: str, start: int, decode: Decode) -> list[RecordedEvent]:
        """Return all events of a stream from version *start* on."""
        forward = ReadDirection.FORWARD

        def read(start: int, count: int, max_bytes: int | None) -> Examined:
            page = start, count, forward, self.deadline(), max_bytes
            events = self.storage.read_stream(stream_id, *page)
            return unfiltered(events, start, count, max_bytes, forward)

        return listed(read, decode, start, None, forward)
