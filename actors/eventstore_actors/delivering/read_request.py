"""What a delivery wants to read next. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Read"]


@dataclass(frozen=True, slots=True)
class Read:
    """A request to read events of the subscribed stream or ``$all``."""

    after: int
    """Position after which to read."""
    count: int
    """Most events."""
    max_bytes: int
    """Most bytes together; the first event is read whatever its size."""
    announced: int
    """Position up to which events may exist, as far as was announced."""
