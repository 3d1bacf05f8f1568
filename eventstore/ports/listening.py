"""The port to a listener, which learns of what is new in a storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import UUID

from eventstore.ports.stored_events import StoredEvent

__all__ = ["HeadListener", "Heard", "KnownEvent", "LinkedStream"]


@dataclass(frozen=True, slots=True)
class Heard:
    """State of the store, as a listener read it after a notification or a timeout."""

    head: int
    """Newest global position that was ever assigned."""
    reconnected: bool
    """The connection is new: earlier announcements may have been missed."""
    touched: frozenset[int] = frozenset()
    """Ids of subscriptions that were released, paused, resumed, reset or deleted somewhere."""
    deaf: bool = False
    """Whether announcements arrive is not proved, or they do not, for instance through a pooler.
    New events are found by polling."""
    newest: UUID | None = None
    """Id of the event at the head; None if it was deleted or the store is empty."""
    deletion_no: int = 0
    """Number of the newest deletion. If it grew, drop the events held in memory."""
    unerased: bool = False
    """Events of streams that were deleted for good are still to be erased."""
    link_no: int = 0
    """Number of the newest link. If it grew, see `HeadListener.linked`."""
    holds: bool = True
    """The event that was asked for is still at its position, or was deleted there. False: the
    database was set back in time."""


KnownEvent = tuple[int, UUID]
"""Global position and id of an event."""


class LinkedStream(NamedTuple):
    """An event was linked to a stream."""

    link_no: int
    """Numbers of links follow commit order; some are left out."""
    stream_id: str
    version: int
    """The version of the stream that the link took."""


class HeadListener(Protocol):
    """Learns of new events. Used by one thread, woken from any.

    It reads as every other part of the storage does. Where announcements come from is another
    matter: they are hints to look, and it looks without them, too.
    """

    def wait(
        self, timeout: float, *, prompt: bool = True, known: KnownEvent | None = None
    ) -> Heard:
        """Block until something was announced, `wake` was called or *timeout* seconds passed.

        Reconnects if the connection is lost. An announcement is only a hint to look: the head is
        read from the storage before this returns, in every case. So a lost announcement costs a
        delay and never an event, and a forged one costs a read.

        Args:
            timeout: Seconds.
            prompt: Whether to listen. False: nobody is in a hurry, so new events are noticed only
                after *timeout*. The first prompt call after such a call returns at once, as after
                a reconnect.
            known: An event that was at its position before; see `Heard.holds`.

        Raises:
            StorageUnavailableError: The head could not be read. Call again.
        """

    def read_all(
        self, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        """Do `Storage.read_after` of ``$all``, over the listener's own connection if possible."""

    def linked(self, after: int, count: int, deadline: float) -> list[LinkedStream]:
        """Read at most *count* links after number *after*, as `read_all` reads events."""

    def wake(self) -> None:
        """Make `wait` return at once, from any thread."""

    def close(self) -> None: ...
