"""Turn events and snapshots into bytes and back: serializer, registry of payload types, size limit.

Pure, but for a thread where the caller's stack is too short.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from eventstore.model.checks import shown
from eventstore.model.errors import SerializationError
from eventstore.model.event_filter import EventFilter
from eventstore.model.events import EventData, RecordedEvent, is_named_by_class
from eventstore.model.fresh_stack import on_fresh_stack
from eventstore.model.payload_types import registered
from eventstore.model.safe_text import message_of
from eventstore.model.serializer import (
    JsonSerializer,
    Serializer,
    Types,
    format_of,
    reader,
    reads_json,
)
from eventstore.model.snapshots import Snapshot, SnapshotData, as_event
from eventstore.ports.stored_events import EncodedEvent, StoredEvent
from eventstore.ports.stored_snapshots import EncodedSnapshot, StoredSnapshot

__all__ = ["MAX_EVENT_BYTES", "Codec", "as_stored_bytes", "as_stored_snapshot"]

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""Most bytes of one event: data and metadata together."""


class Codec:
    """Encodes and decodes the events and snapshots of one store. Any thread may use it."""

    def __init__(self, serializer: Serializer, types: Types = ()) -> None:
        self._serialize = serializer.serialize
        self._format = format_of(serializer)
        type_of = registered(types, serializer)
        self._type_of = type_of
        self._name_of = {payload_type: name for name, payload_type in type_of.items()}
        self.is_plain = type(serializer) is JsonSerializer and not type_of
        """Decoding runs no code of the application: no serializer of its own, and no class."""
        self._read_plain = reader(serializer, None)
        self._read_typed = {name: reader(serializer, kind) for name, kind in type_of.items()}
        self._proofs = self._read_typed if reads_json(serializer) else {}
        """By event type, the reader that a payload must pass before it is stored.

        A class does not check its fields, so each payload is tried. Plain JSON can always be read.
        """

    def encode(self, event: EventData) -> EncodedEvent:
        """Return *event* ready to be stored.

        Raises:
            SerializationError: Data or metadata cannot be serialized, or not be read again, or they
                are too large.
        """
        event_type = self._name(event) if is_named_by_class(event) else event.event_type
        metadata, field = None, "data"
        # This runs for every event appended: no call to spare.
        try:
            data = self._serialize(event.data)
            if type(data) is not bytes:
                data = _as_bytes(data)
            size = len(data)
            if event.metadata is not None:
                field = "metadata"
                metadata = self._serialize(event.metadata)
                if type(metadata) is not bytes:
                    metadata = _as_bytes(metadata)
                size += len(metadata)
        except Exception as error:
            reason = f"{field}: {message_of(error)}"
            raise SerializationError(event_type, reason, event_id=event.event_id) from error
        if size > MAX_EVENT_BYTES:
            reason = f"payloads of {size:,} bytes, at most {MAX_EVENT_BYTES:,} are possible"
            raise SerializationError(event_type, reason, event_id=event.event_id)
        if event_type in self._proofs:
            self._prove(event, event_type, data)
        return EncodedEvent(
            event.event_id,
            event_type,
            data,
            metadata,
            event.causation_id,
            event.correlation_id,
            self._format,
            event.created_at,
        )

    def decode(self, stored: StoredEvent) -> RecordedEvent:
        """Return *stored* with its payloads deserialized.

        Raises:
            SerializationError: The bytes do not hold a value of the registered type, or another
                serializer wrote them.
        """
        event_type, metadata, read_plain = stored.event_type, stored.metadata, self._read_plain
        if stored.format != self._format:
            raise self._foreign(stored)
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
        except RecursionError:
            return self._decode_deep(stored)
        except Exception as error:
            raise _unreadable(stored, f": {message_of(error)}") from error

    def decode_metadata(self, stored: StoredEvent) -> Any:
        """Return the metadata of *stored* alone.

        Raises:
            SerializationError: As for `decode`.
        """
        if stored.format != self._format:
            raise self._foreign(stored)
        try:
            return (
                None if stored.metadata is None else _read_deep(self._read_plain, stored.metadata)
            )
        except Exception as error:
            raise _unreadable(stored, f": {message_of(error)}") from error

    def with_all_names(self, event_filter: EventFilter) -> EventFilter:
        """Return *event_filter* with every name under which the classes of its types are known."""
        wanted = {self._type_of[name] for name in event_filter.event_types if name in self._type_of}
        also = {name for name, payload_type in self._type_of.items() if payload_type in wanted}
        names = {*event_filter.event_types, *also}
        return replace(event_filter, event_types=tuple(sorted(names)))

    def encode_snapshot(self, snapshot: SnapshotData) -> EncodedSnapshot:
        """Return *snapshot* ready to be stored.

        Raises:
            SerializationError: As for `encode`.
        """
        try:
            event = self.encode(as_event(snapshot))
        except SerializationError as error:
            raise SerializationError(
                error.event_type, error.reason, kind="snapshot"
            ) from error.__cause__
        return EncodedSnapshot(event.event_type, event.format, event.data, event.metadata)

    def decode_snapshot(self, stored: StoredSnapshot) -> Snapshot:
        """Return *stored* with its payloads deserialized.

        Raises:
            SerializationError: As for `decode`.
        """
        metadata = stored.metadata
        if stored.format != self._format:
            raise _unreadable_snapshot(
                stored, f" was written as {stored.format!r}, this store reads {self._format!r}"
            )
        try:
            return _snapshot(
                stored,
                _read_deep(self._reader_of(stored.snapshot_type), stored.data),
                None if metadata is None else _read_deep(self._read_plain, metadata),
            )
        except Exception as error:
            raise _unreadable_snapshot(stored, f": {message_of(error)}") from error

    def is_same(self, event: EncodedEvent, stored: StoredEvent) -> bool:
        """Tell whether *stored* has the type and the data of *event*, as this store reads them."""
        if (event.event_type, event.format) != (stored.event_type, stored.format):
            return False
        return event.data == stored.data or on_fresh_stack(self._reads_the_same, event, stored)

    def _foreign(self, stored: StoredEvent) -> SerializationError:
        return _unreadable(
            stored, f" was written as {stored.format!r}, this store reads {self._format!r}"
        )

    def _reads_the_same(self, event: EncodedEvent, stored: StoredEvent) -> bool:
        read = self._reader_of(event.event_type)
        try:
            return _is_same(read(event.data), read(stored.data))
        except Exception:  # noqa: BLE001 - what cannot be read or compared is not the same
            return False

    def _decode_deep(self, stored: StoredEvent) -> RecordedEvent:
        """Decode what the stack that is left is too short for."""
        metadata = stored.metadata
        try:
            return _recorded(
                stored,
                on_fresh_stack(self._reader_of(stored.event_type), stored.data),
                None if metadata is None else on_fresh_stack(self._read_plain, metadata),
            )
        except Exception as error:
            raise _unreadable(stored, f": {message_of(error)}") from error

    def _reader_of(self, event_type: str) -> Callable[[bytes], Any]:
        return self._read_typed.get(event_type, self._read_plain)

    def _name(self, event: EventData) -> str:
        try:
            return self._name_of[type(event.data)]
        except KeyError:
            reason = f"class {type(event.data).__name__} is not in Config.types"
            raise SerializationError(event.event_type, reason, event_id=event.event_id) from None

    def _prove(self, event: EventData, event_type: str, data: bytes) -> None:
        read = self._proofs[event_type]
        try:
            _read_deep(read, data)
        except Exception as error:
            reason = f"data could not be read again: {message_of(error)}"
            raise SerializationError(event_type, reason, event_id=event.event_id) from error


def as_stored_bytes(stored: StoredEvent) -> RecordedEvent:
    """Return *stored* with its payloads as the bytes that they are."""
    return _recorded(stored, stored.data, stored.metadata)


def as_stored_snapshot(stored: StoredSnapshot) -> Snapshot:
    """Return *stored* with its payloads as the bytes that they are."""
    return _snapshot(stored, stored.data, stored.metadata)


def _snapshot(stored: StoredSnapshot, data: Any, metadata: Any) -> Snapshot:
    return Snapshot(
        stream_id=stored.stream_id,
        stream_version=stored.stream_version,
        snapshot_type=stored.snapshot_type,
        data=data,
        metadata=metadata,
        created_at=stored.created_at,
    )


def _read_deep(read: Callable[[bytes], Any], payload: bytes) -> Any:
    """Return what *read* makes of *payload*, on a fresh stack if the one that is left is short."""
    try:
        return read(payload)
    except RecursionError:
        return on_fresh_stack(read, payload)


def _recorded(stored: StoredEvent, data: Any, metadata: Any) -> RecordedEvent:
    return RecordedEvent(
        event_id=stored.event_id,
        event_type=stored.event_type,
        stream_id=stored.stream_id,
        stream_version=stored.stream_version,
        global_position=stored.global_position,
        position=stored.position,
        data=data,
        metadata=metadata,
        causation_id=stored.causation_id,
        correlation_id=stored.correlation_id,
        created_at=stored.created_at,
    )


def _unreadable(stored: StoredEvent, reason: str) -> SerializationError:
    return SerializationError(
        stored.event_type,
        f"event at position {stored.global_position}{reason}",
        event_id=stored.event_id,
        stream_id=stored.stream_id,
        position=stored.global_position,
    )


def _unreadable_snapshot(stored: StoredSnapshot, reason: str) -> SerializationError:
    return SerializationError(
        stored.snapshot_type,
        f"snapshot of version {stored.stream_version}{reason}",
        stream_id=stored.stream_id,
        kind="snapshot",
    )


def _as_bytes(payload: object) -> bytes:
    """Return a copy of what a serializer returned, which may go on writing to it."""
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise TypeError(f"the serializer must return bytes: {shown(payload)}")
    return bytes(memoryview(payload))


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal in every part and of one type: here, 1 is not True."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_is_same, one, other))
    names = _fields_of(type(one))
    if names:
        return all(_is_same(getattr(one, name), getattr(other, name)) for name in names)
    return bool(one == other)


def _fields_of(kind: type) -> Sequence[str]:
    """Return the names of the fields of a dataclass or a Struct."""
    if is_dataclass(kind):
        return [field.name for field in fields(kind)]
    return getattr(kind, "__struct_fields__", ())
