"""Events that a subscription has put aside. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["ParkedEvent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedEvent:
    """An event that a subscription has put aside, as it is stored."""

    key: str
    """Its own stream: the events of a stream stay in order."""
    position: int
    """In the subscribed stream, or in ``$all``."""
    global_position: int
    reason: str
    """Why it was parked, for people."""
    error: str | None
    """The newest error and its traceback; None: it was never handled, it follows one that was."""
    attempts: int
    """Failed deliveries; 0: it was never handled."""
    parked_at: datetime
    failed_at: datetime | None
    """When it failed last."""
    is_marked: bool
    """Whether the owner of the subscription is about to deliver it again."""
