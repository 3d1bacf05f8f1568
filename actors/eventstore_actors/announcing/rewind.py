"""Detects that the database was set back in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from eventstore.model.errors import HistoryRewoundError
from eventstore.model.names import ALL_STREAMS
from eventstore.ports.listening import Heard, KnownEvent
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
    """The newest known event, and the one at the head of the last look. Used by one thread.

    Every look tells whether the event of the look before is still there. A head that is not beyond
    the newest known event, and is another event, is doubtful; `check` asks the storage.
    """

    def __init__(self, context: Context) -> None:
        self._shared = context
        self._recent = context.recent
        self._told: Mark | None = None
        """The newest event sent to the publisher; the memory may not have it yet."""
        self.seen: KnownEvent | None = None
        """The event at the head of the last look that was dealt with."""

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

    def see(self, heard: Heard) -> None:
        """Remember the event at the head, for the next look."""
        if heard.newest is not None:
            self.seen = (heard.head, heard.newest)

    def is_doubtful(self, heard: Heard) -> bool:
        """Return whether the database may have been set back (and have grown again since)."""
        mark = self.mark()
        if mark is None or heard.head > mark.position:
            return False
        return (heard.head, heard.newest) != (mark.position, mark.event_id)

    def verify(self, heard: Heard) -> None:
        """Check that the event of the look before is still there.

        An append of our own may have filled the position after what was lost, so that nothing else
        looks odd.

        Raises:
            HistoryRewoundError: It is not.
        """
        if not heard.holds and self.seen is not None:
            raise _lost(*self.seen)

    def check(self, head: int | None = None) -> None:
        """Check with the storage that the known events are still at their positions.

        Raises:
            HistoryRewoundError: One of them is not.
        """
        for position, event_id in self._evidence(head):
            deadline = time.monotonic() + self._shared.config.connect_timeout
            if not self._shared.storage.history_holds(position, event_id, deadline):
                raise _lost(position, event_id)

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


def _lost(position: int, event_id: UUID) -> HistoryRewoundError:
    return HistoryRewoundError(
        f"the database lost event {event_id} at position {position}: it was set back"
    )
