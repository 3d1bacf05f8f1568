"""Events before and after they are stored, and where an append put them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import force_setattr
from uuid_utils.compat import uuid7

from eventstore.model.checks import check_moment, check_uuid, is_int, shown
from eventstore.model.names import MAX_POSITION, check_name

__all__ = [
    "AppendResult",
    "EventData",
    "ExpectedVersion",
    "LinkResult",
    "RecordedEvent",
    "StreamInfo",
    "check_expected_version",
    "named_version",
]


class ExpectedVersion(IntEnum):
    """What an append may expect of a stream instead of an exact version."""

    ANY = -1
    """Any version; a missing stream is created."""
    NO_STREAM = 0
    """The stream does not exist."""
    STREAM_EXISTS = -2
    """The stream exists, at any version."""

    def __str__(self) -> str:
        return self.name


def check_expected_version(value: object) -> int:
    """Return *value* if it is an `ExpectedVersion` or a version, 0 or more.

    Raises:
        TypeError: It is not an int; True and False are not.
        ValueError: It is negative, or higher than any version can be.
    """
    if isinstance(value, ExpectedVersion):
        return value
    if not is_int(value):
        raise TypeError(
            "expected_version must be a version or an ExpectedVersion,"
            f" not {type(value).__name__}: {shown(value)}"
        )
    if value < 0:
        raise ValueError(
            f"expected_version must be 0 or more, or an ExpectedVersion: {shown(value)}"
        )
    if value > MAX_POSITION:
        raise ValueError(f"expected_version must be at most {MAX_POSITION}: {shown(value)}")
    return int.__int__(value)


def named_version(expected: int) -> int | ExpectedVersion:
    """Return a checked expected version as the caller wrote it."""
    return ExpectedVersion(expected) if expected < 0 else expected


class _EventContent(msgspec.Struct, frozen=True):
    event_type: str
    data: Any
    metadata: Any = None


class EventData(_EventContent, frozen=True, kw_only=True):
    """An event to append.

    Args:
        event_type: Name of the type, 1 to 1,000 bytes of UTF-8.
        data: The payload: any value that the store's serializer accepts.
        metadata: Data about the event, such as its user or its source. Defaults to None.
        event_id: Makes a repeated append idempotent. Defaults to a new UUIDv7.
        causation_id: Id of the command or event that caused this one. Defaults to None.
        correlation_id: Id that all events of one conversation share. Defaults to None.
        created_at: Time of the event, with a time zone; kept in UTC. Defaults to the database's
            time of the append.

    Raises:
        TypeError, ValueError: An argument is of the wrong kind; the message names it.
    """

    event_id: UUID = msgspec.field(default_factory=uuid7)
    causation_id: UUID | None = None
    correlation_id: UUID | None = None
    created_at: datetime | None = None

    def __post_init__(self) -> None:
        # A check returns the very value, or the plain value of a subclass.
        if (name := check_name("event_type", self.event_type)) is not self.event_type:
            force_setattr(self, "event_type", name)
        if type(self.event_id) is not UUID:
            force_setattr(self, "event_id", check_uuid("event_id", self.event_id))
        if self.causation_id is not None:
            force_setattr(self, "causation_id", check_uuid("causation_id", self.causation_id))
        if self.correlation_id is not None:
            force_setattr(self, "correlation_id", check_uuid("correlation_id", self.correlation_id))
        if self.created_at is not None:
            force_setattr(self, "created_at", check_moment("created_at", self.created_at))

    @classmethod
    def of(cls, payload: object, metadata: Any = None, **fields: Any) -> EventData:
        """Return an event with *payload* as its data; `Config.types` gives its class a type name.

        The append looks that name up; until then `event_type` is the name of the class.
        """
        return _TypedEventData(type(payload).__name__, payload, metadata, **fields)


class _TypedEventData(EventData, frozen=True, kw_only=True):
    """An event whose type name is looked up by the class of its data."""


def is_named_by_class(event: EventData) -> bool:
    """Tell whether `Config.types` decides the type name of *event*."""
    return type(event) is _TypedEventData


# dict: the receipt of its delivery, which is no part of its value.
class RecordedEvent(msgspec.Struct, frozen=True, dict=True):
    """An event as it is stored, read from its stream, from a linked stream or from ``$all``."""

    event_id: UUID
    event_type: str
    stream_id: str
    """The stream it was appended to."""
    stream_version: int
    """Its place in that stream: 1, 2, 3 …"""
    global_position: int
    """Its place in the store, in commit order: 1, 2, 3 …"""
    position: int
    """Its place in the stream it was read from, or in ``$all``.

    Checkpoints, acknowledgements and `start_from` are such positions.
    """
    data: Any
    metadata: Any
    causation_id: UUID | None
    correlation_id: UUID | None
    created_at: datetime
    """In UTC, to the microsecond."""


class AppendResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where an append put the events of one stream.

    For a stream that was only checked, `first_version`, `first_global_position` and
    `last_global_position` are None and `last_version` is the version found.
    """

    stream_id: str
    first_version: int | None
    last_version: int
    first_global_position: int | None
    last_global_position: int | None
    repeated: bool = False
    """The same append was stored before, and this is its result; nothing was written now.

    Stored by an earlier call, or by an attempt of this call whose answer was lost.
    """


class LinkResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where events are in the stream that they were linked to: a run of its versions."""

    stream_id: str
    """The stream that they were linked to."""
    first_version: int
    last_version: int
    repeated: bool = False
    """They were linked before, and this is where; nothing was written now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """State of a stream at one moment."""

    stream_id: str
    stream_version: int
    """Its newest version; the head of the store for ``$all``."""
    created_at: datetime | None
    """None for ``$all``."""
    deleted_at: datetime | None
