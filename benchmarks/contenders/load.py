"""The events that are appended and read: small JSON, the same for every contender."""

from __future__ import annotations

from itertools import count
from typing import Any
from uuid import uuid4

from eventstore import EventData

__all__ = ["ALL", "EVENT_TYPE", "EXISTING", "events", "new_stream", "payload"]

ALL = "$all"
EVENT_TYPE = "OrderPlaced"
EXISTING = 1_000
"""Number of streams in the workloads that append to existing streams."""

_FIELDS = {"sku": "A-4711", "quantity": 3, "price": 19.9, "customer": "c-000123"}
_BYTES_OF_THE_REST = 76

_run = uuid4().hex[:8]
_number = count()


def payload(size: int = 100) -> dict[str, Any]:
    """Return an order of about *size* bytes of JSON."""
    return _FIELDS | {"note": "x" * (size - _BYTES_OF_THE_REST)}


_SMALL = payload()


def new_stream() -> str:
    """Return the id of a stream that does not exist."""
    return f"bench-{_run}-{next(_number)}"


def events(number: int, data: dict[str, Any] = _SMALL) -> list[EventData]:
    """Return *number* new events."""
    return [EventData(EVENT_TYPE, data) for _ in range(number)]
