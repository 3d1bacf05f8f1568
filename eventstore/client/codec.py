"""Turn events into bytes and back: serializer, registry of payload types, size limit.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from eventstore.model.checks import shown
from eventstore.model.errors import SerializationError
from eventstore.model.events import EventData, RecordedEvent, is_named_by_class
from eventstore.model.names import check_name
from eventstore.model.serializer import Serializer, Types, reader
from eventstore.ports.stored_events import EncodedEvent, StoredEvent

__all__ = ["MAX_EVENT_BYTES", "Codec"]

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""Most bytes of one event: data and metadata together."""


class Codec:
    """Encodes and decodes the events of one store. Any thread may use it."""

    def __init__(self, serializer: Serializer, types: Types = ()) -> None:
        self._serializer = serializer
        self._format: str = getattr(serializer, "format", type(serializer).__name__)
        type_of = _by_name(types)
        self._name_of = {payload_type: name for name, payload_type in type_of.items()}
        self._read_plain = reader(serializer, None)
        self._read_typed = {name: reader(serializer, kind) for name, kind in type_of.items()}

    def encode(self, event: EventData) -> EncodedEvent:
        """Return *event* ready to be stored.

        Raises:
            SerializationError: Data or metadata cannot be serialized, or they are too large.
        """
        event_type = self._name(event) if is_named_by_class(event) else event.event_type
        data, metadata = self._written(event_type, "data", event.data), None
        size = len(data)
        if event.metadata is not None:
            metadata = self._written(event_type, "metadata", event.metadata)
            size += len(metadata)
        if size > MAX_EVENT_BYTES:
            raise SerializationError(
                event_type, f"event of {size:,} bytes, at most {MAX_EVENT_BYTES:,} are possible"
            )
        return EncodedEvent(
            event.event_id,
            event_type,
            data,
            metadata,
            event.causation_id,
            event.correlation_id,
            self._format,
            _in_utc(event.created_at),
        )

    def decode(self, stored: StoredEvent) -> RecordedEvent:
        """Return *stored* with its payloads deserialized.

        Raises:
            SerializationError: The bytes do not hold a value of the registered type, or another
                serializer wrote them.
        """
        event_type, metadata, read_plain = stored.event_type, stored.metadata, self._read_plain
        if stored.format != self._format:
            raise SerializationError(
                event_type,
                f"event at position {stored.global_position} was written as {stored.format!r},"
                f" this store reads {self._format!r}",
            )
        try:
            # This runs for every event read: positional arguments, and no call to spare.
            return RecordedEvent(
                stored.event_id,
                event_type,
                stored.stream_id,
                stored.stream_version,
                stored.global_position,
                stored.position,
                self._read_typed.get(event_type, read_plain)(stored.data),
                None if metadata is None else read_plain(metadata),
                stored.causation_id,
                stored.correlation_id,
                stored.created_at,
            )
        except Exception as error:
            raise SerializationError(
                event_type, f"event at position {stored.global_position}: {error}"
            ) from error

    def _name(self, event: EventData) -> str:
        try:
            return self._name_of[type(event.data)]
        except KeyError:
            raise SerializationError(
                event.event_type, f"class {type(event.data).__name__} is not in Config.types"
            ) from None

    def _written(self, event_type: str, field: str, value: Any) -> bytes:
        try:
            return self._serializer.serialize(value)
        except Exception as error:
            raise SerializationError(event_type, f"{field}: {error}") from error


def _by_name(types: Types) -> dict[str, type]:
    named = types.items() if isinstance(types, Mapping) else [(_named(t), t) for t in types]
    registry: dict[str, type] = {}
    for name, payload_type in named:
        check_name("types", name)
        if not isinstance(payload_type, type):
            raise TypeError(f"types must hold classes, {name!r} is {shown(payload_type)}")
        if name in registry:
            raise ValueError(f"types has two classes for {name!r}")
        registry[name] = payload_type
    return registry


def _named(payload_type: type) -> str:
    """Return the name of a class; of anything else, which is refused later, that of its type."""
    return getattr(payload_type, "__name__", type(payload_type).__name__)


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
