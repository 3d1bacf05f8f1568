"""The part of the storage port for snapshots, and its values. Payloads are bytes; no JSON here."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from eventstore.ports.stored_events import StoredEvent

__all__ = ["EncodedSnapshot", "SnapshotStorage", "StoredSnapshot"]


class EncodedSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A snapshot to record, with serialized payloads."""

    snapshot_type: str
    format: str
    """Which serializer wrote the payloads."""
    data: bytes
    metadata: bytes | None


class StoredSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A stored snapshot: its place, then the columns of `EncodedSnapshot`."""

    stream_id: str
    stream_version: int
    created_at: datetime
    snapshot_type: str
    format: str
    data: bytes
    metadata: bytes | None


class SnapshotStorage(Protocol):
    """Where snapshots live. Every method may be called from any thread.

    A snapshot belongs to one incarnation of its stream: one that is created again after a hard
    delete has none.
    """

    def record_snapshot(
        self, stream_id: str, stream_version: int, snapshot: EncodedSnapshot, deadline: float
    ) -> bool:
        """Record the snapshot of a stream at a version, unless a newer one of its type is there.

        Idempotent. Of several for one version the last one stays.

        Returns:
            Whether the newest one is of this version now.

        Raises:
            StreamNotFoundError, StreamDeletedError: There is nothing to record it for.
            ValueError: *stream_version* is beyond the version of the stream.
        """

    def read_snapshot(
        self, stream_id: str, snapshot_type: str, deadline: float
    ) -> StoredSnapshot | None:
        """Return the snapshot of this type; None if there is none.

        Raises:
            StreamNotFoundError, StreamDeletedError: There is nothing to read from.
        """

    def read_from_snapshot(
        self, stream_id: str, snapshot_type: str, count: int, deadline: float
    ) -> tuple[StoredSnapshot | None, list[StoredEvent]]:
        """Return the snapshot of this type, or None, and the first *count* events after it.

        Both are of the same incarnation of the stream.

        Raises:
            StreamNotFoundError, StreamDeletedError: There is nothing to read from.
        """

    def delete_snapshot(self, stream_id: str, snapshot_type: str, deadline: float) -> bool:
        """Delete the snapshot of this type. Return whether there was one.

        A deleted stream may have one still. A missing stream has none.
        """
