"""The reads of the storage port, each over a connection that is lent for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from eventstore.model.event_filter import EventFilter
from eventstore.model.events import StreamInfo
from eventstore.model.stream_listing import StreamListing
from eventstore.ports.reads import Examined, ReadDirection
from eventstore.ports.stored_events import StoredEvent
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.lender import Lender
from eventstore.storages.postgres.matching_reader import MatchingReader
from eventstore.storages.postgres.reader import Reader

__all__ = ["LentReads"]

Result = TypeVar("Result")


class LentReads:
    """Reads events and streams; see `Storage`."""

    _readers: Lender
    """Lends the connections."""
    _reader: Reader
    _matching: MatchingReader

    def read_stream(
        self,
        stream_id: str,
        start: int,
        count: int,
        direction: ReadDirection,
        deadline: float,
        max_bytes: int | None = None,
    ) -> list[StoredEvent]:
        """Read a page of a stream; see `Storage.read_stream`."""
        return self._read(
            "reading a stream",
            lambda c: self._reader.stream(
                c, stream_id, start, count, direction, deadline, max_bytes
            ),
            deadline,
        )

    def read_all(
        self,
        start: int,
        count: int,
        direction: ReadDirection,
        deadline: float,
        max_bytes: int | None = None,
    ) -> list[StoredEvent]:
        """Read a page of all streams; see `Storage.read_all`."""
        return self._read(
            "reading all streams",
            lambda c: self._reader.all(c, start, count, direction, deadline, max_bytes),
            deadline,
        )

    def read_after(
        self, stream_id: str, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        """Read the next events of a subscription; see `Storage.read_after`."""
        return self._read(
            "reading for a subscription",
            lambda c: self._reader.after(c, stream_id, after, count, max_bytes, deadline),
            deadline,
        )

    def read_matching(
        self,
        stream_id: str,
        start: int,
        count: int,
        direction: ReadDirection,
        event_filter: EventFilter,
        deadline: float,
        max_bytes: int | None = None,
    ) -> Examined:
        """Read a page of what matches a filter; see `Storage.read_matching`."""
        return self._read(
            "reading with a filter",
            lambda c: self._matching.read(
                c, stream_id, start, count, direction, event_filter, deadline, max_bytes
            ),
            deadline,
        )

    def read_matching_after(
        self,
        stream_id: str,
        after: int,
        count: int,
        max_bytes: int,
        event_filter: EventFilter,
        deadline: float,
    ) -> Examined:
        """Read the next events of a subscription; see `Storage.read_matching_after`."""
        return self._read(
            "reading for a subscription",
            lambda c: self._matching.after(
                c, stream_id, after, count, max_bytes, event_filter, deadline
            ),
            deadline,
        )

    def end_after(self, stream_id: str, after: int, deadline: float) -> int:
        """Find out whether all after a position was deleted; see `Storage.end_after`."""
        return self._read(
            "looking for the end of a stream",
            lambda c: self._reader.end_after(c, stream_id, after, deadline),
            deadline,
        )

    def stream_info(self, stream_id: str, deadline: float) -> StreamInfo:
        """Return the state of a stream, or of the store; see `Storage.stream_info`."""
        return self._read(
            "reading a stream's state",
            lambda c: self._reader.stream_info(c, stream_id, deadline),
            deadline,
        )

    def streams(
        self, listing: StreamListing, after: str | None, count: int, deadline: float
    ) -> list[StreamInfo]:
        """Return a page of the streams; see `Storage.streams`."""
        return self._read(
            "listing streams",
            lambda c: self._reader.streams(c, listing, after, count, deadline),
            deadline,
        )

    def find_event(self, event_id: UUID, deadline: float) -> StoredEvent | None:
        """Return the event with this id; see `Storage.find_event`."""
        return self._read(
            "finding an event", lambda c: self._reader.event(c, event_id, deadline), deadline
        )

    def stream_count(self, deadline: float) -> int:
        """Return the number of streams that are not deleted."""
        return self._read(
            "counting streams", lambda c: self._reader.stream_count(c, deadline), deadline
        )

    def history_holds(self, global_position: int, event_id: UUID, deadline: float) -> bool:
        """Return whether an event is still at its position; see `Storage.history_holds`."""
        return self._read(
            "checking the history",
            lambda c: self._reader.history_holds(c, global_position, event_id, deadline),
            deadline,
        )

    def _read(
        self, doing: str, work: Callable[[GuardedConnection], Result], deadline: float
    ) -> Result:
        return self._readers.run(work, deadline, f"{doing} failed")
