"""Detects that the database was set back in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from eventstore.model.errors import HistoryRewoundError
from eventstore.model.names import ALL_STREAMS
from eventstore.ports.storage import Heard
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.state.context import Context

__all__ = ["History", "Mark"]


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest known event: its position, its id, and the bytes of its payloads."""

    position: int
    event_id: UUID
    size: int = field(default=0, compare=False)

    @classmethod
    def of(cls, event: StoredEvent) -> Mark:
        return cls(event.global_position, event.event_id, event.size)


class History:
    """The newest known event and the newest known head. Used by one thread.

    A head that does not grow, or another event at the head, is doubtful; `check` asks the storage.
    """

    def __init__(self, context: Context) -> None:
        self._shared = context
        self._recent = context.recent
        self._told: Mark | None = None
        """The newest event sent to the publisher; the memory may not have it yet."""
        self.head = 0
        """The head as it was read last."""

    def tell_of(self, event: StoredEvent) -> None:
        """Remember *event* as the newest."""
        self._told = Mark.of(event)

    def mark(self) -> Mark | None:
        """Return the newest known event."""
        told, mark = self._told, self._recent.mark
        if mark is None or (told is not None and told.position > mark[0]):
            return told
        held = self._held(mark[0])
        return Mark(*mark, held.size if held is not None else 0)

    def is_doubtful(self, heard: Heard) -> bool:
        """Return whether the database may have been set back (and have grown again since)."""
        before, self.head = self.head, heard.head
        if heard.newest is None and heard.head > before:
            return False
        mark = self.mark()
        if mark is None:
            return False
        # What somebody else announced is behind what is known, or was read already.
        if heard.newest is None or (heard.announced and heard.head <= mark.position):
            return True
        found = Mark(heard.head, heard.newest)
        return found != mark and heard.head <= max(before, mark.position)

    def check(self, head: int | None = None) -> None:
        """Check with the storage that the known events are still at their positions.

        Raises:
            HistoryRewoundError: One of them is not.
        """
        for position, event_id in self._evidence(head):
            deadline = time.monotonic() + self._shared.config.connect_timeout
            if not self._shared.storage.history_holds(position, event_id, deadline):
                raise HistoryRewoundError(
                    f"the database lost event {event_id} at position {position}: it was set back"
                )

    def _evidence(self, head: int | None) -> Iterator[tuple[int, UUID]]:
        """Yield the mark, the newest event that was read, and the event in memory at *head*.

        The mark may be younger than what was lost: an event of our own, stored since.
        """
        mark, told = self.mark(), self._told
        for known in (mark, None if told == mark else told):
            if known is not None:
                yield known.position, known.event_id
        held = self._held(head) if head is not None else None
        if held is not None:
            yield held.global_position, held.event_id

    def _held(self, position: int) -> StoredEvent | None:
        """Return the event in memory at *position*."""
        held = self._recent.after(ALL_STREAMS, position - 1, 1, 0) if position > 0 else None
        return held[0] if held else None
