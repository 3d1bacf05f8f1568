"""The error of an acknowledgement of what was not sent."""

from __future__ import annotations

__all__ = ["UndeliveredAckError"]


class UndeliveredAckError(Exception):
    """The acknowledged position was not sent in this run; nothing changed."""

    def __init__(self, position: int, sent: int) -> None:
        super().__init__(f"position {position} was not sent, the highest sent is {sent}")
