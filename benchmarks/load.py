"""What is appended and read: small JSON events of about 100 bytes."""

from __future__ import annotations

from itertools import count
from uuid import uuid4

from eventstore import EventData

__all__ = ["ALL", "EVENT_TYPE", "PAYLOAD", "events", "new_stream"]

ALL = "$all"
EVENT_TYPE = "OrderPlaced"
PAYLOAD = {"sku": "A-4711", "quantity": 3, "price": 19.9, "customer": "c-000123", "note": "x" * 24}

_run = uuid4().hex[:8]
_number = count()


def new_stream() -> str:
    """Return the id of a stream that does not exist."""
    return f"bench-{_run}-{next(_number)}"


def events(number: int) -> list[EventData]:
    """Return *number* new events."""
    return [EventData(EVENT_TYPE, PAYLOAD) for _ in range(number)]
