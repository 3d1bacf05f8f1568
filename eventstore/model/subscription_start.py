"""Where a new subscription starts, and how it is given. Pure."""

from __future__ import annotations

from enum import StrEnum

from eventstore.model.checks import is_int, shown
from eventstore.model.names import MAX_POSITION

__all__ = ["Origin", "Start", "parse_start"]


class Origin(StrEnum):
    """Named starts of a subscription."""

    ORIGIN = "origin"
    CURRENT = "current"


Start = Origin | int
"""Start of a new subscription; a number is the last position that counts as seen."""


def parse_start(value: object) -> Start:
    """Return *value* as the start of a subscription.

    Raises:
        TypeError, ValueError: Not "origin", "current" or a position.
    """
    if isinstance(value, str):
        return Origin(value) if value in {*Origin} else _bad_start(value)
    if not is_int(value):
        raise TypeError(f'start_from must be "origin", "current" or a position: {shown(value)}')
    return value if 0 <= value <= MAX_POSITION else _bad_start(value)


def _bad_start(value: str | int) -> Start:
    raise ValueError(
        f'start_from must be "origin", "current" or a position from 0 to {MAX_POSITION}:'
        f" {shown(value)}"
    )
