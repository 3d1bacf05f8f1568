"""Events that a thread has decoded for a loop, in the order of their page."""

from __future__ import annotations

from typing import NamedTuple

from eventstore.client.paging import Decode
from eventstore.model.events import RecordedEvent
from eventstore.ports.stored_events import StoredEvent

__all__ = ["Decoded", "decoded"]


class Decoded(NamedTuple):
    """An event, or the error of decoding it, which is raised when it is reached."""

    position: int
    event: RecordedEvent | Exception

    def get(self) -> RecordedEvent:
        if isinstance(self.event, Exception):
            raise self.event
        return self.event


def decoded(page: list[StoredEvent], decode: Decode) -> list[Decoded]:
    """Decode all events of *page*, also after one that cannot be."""
    return [Decoded(stored.position, _outcome(stored, decode)) for stored in page]


def _outcome(stored: StoredEvent, decode: Decode) -> RecordedEvent | Exception:
    try:
        return decode(stored)
    except Exception as error:  # noqa: BLE001 - raised when the event is reached
        return error
