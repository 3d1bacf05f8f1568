"""Changes of streams other than appends, as values of the storage port."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

__all__ = ["Deletion", "Link"]


class Link(NamedTuple):
    """Events to link to a stream."""

    stream_id: str
    expected_version: int
    """A version, or the value of an `ExpectedVersion`."""
    event_ids: tuple[UUID, ...]
    """They are distinct."""


class Deletion(NamedTuple):
    """A stream to delete."""

    stream_id: str
    expected_version: int
    """A version, or the value of an `ExpectedVersion`."""
    hard: bool
    """Delete its events, too, and every link to them; else they stay."""
