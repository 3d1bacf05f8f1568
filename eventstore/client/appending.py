"""Check and encode an append, in the caller's own thread; compare it with what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar
from uuid import UUID

from eventstore.client.codec import Codec
from eventstore.model.checks import shown
from eventstore.model.errors import DuplicateEventError
from eventstore.model.events import AppendResult, EventData, check_expected_version
from eventstore.model.names import check_stream_id
from eventstore.ports.caller_transactions import CallerTransaction
from eventstore.ports.reads import ReadDirection
from eventstore.ports.storage import Storage
from eventstore.ports.stored_events import (
    OTHERWISE,
    Append,
    EncodedEvent,
    StoredEvent,
    StoredOtherwiseError,
    StreamAppend,
    payload_bytes,
)

__all__ = [
    "MAX_APPEND_BYTES",
    "check_iterable",
    "encode_event",
    "first_results",
    "first_results_in",
    "prepare_one",
    "prepare_several",
]

MAX_APPEND_BYTES = 256 * 1024 * 1024

_T = TypeVar("_T")


def prepare_one(
    codec: Codec, stream_id: str, expected_version: int, events: Iterable[EventData]
) -> Append:
    """Return the append of *events* to one stream.

    Raises:
        TypeError, ValueError: An argument is invalid, or *events* is empty.
        SerializationError, DuplicateEventError: An event cannot be stored.
    """
    part = _part(codec, stream_id, expected_version, events)
    if not part.events:
        raise ValueError(f"events must not be empty (append to {shown(stream_id)})")
    return _checked((part,))


def prepare_several(
    codec: Codec,
    appends: Iterable[tuple[str, int, Iterable[EventData]]],
    *,
    may_be_empty: bool = False,
) -> Append:
    """Return one append to several streams; a stream without events is only checked.

    Raises:
        TypeError, ValueError: An argument is invalid, or a stream occurs twice.
        SerializationError, DuplicateEventError: An event cannot be stored.
    """
    parts = tuple(_part(codec, *_triple(item)) for item in check_iterable("appends", appends))
    if not (parts or may_be_empty):
        raise ValueError("appends must not be empty")
    seen: set[str] = set()
    for part in parts:
        if part.stream_id in seen:
            raise ValueError(f"stream {shown(part.stream_id)} occurs twice in one append")
        seen.add(part.stream_id)
    return _checked(parts)


def _triple(item: object) -> tuple[str, int, Iterable[EventData]]:
    if not isinstance(item, tuple | list) or len(item) != 3:  # noqa: PLR2004 - a triple
        raise TypeError(f"appends must be (stream_id, expected_version, events): {shown(item)}")
    stream_id, expected_version, events = item
    return stream_id, expected_version, events


def _part(
    codec: Codec, stream_id: str, expected_version: int, events: Iterable[EventData]
) -> StreamAppend:
    stream_id = check_stream_id(stream_id)
    expected = check_expected_version(expected_version)
    encoded = [encode_event(codec, event) for event in check_iterable("events", events)]
    return StreamAppend(stream_id, expected, tuple(encoded))


def check_iterable(name: str, value: Iterable[_T]) -> Iterable[_T]:
    """Return *value* if it can be iterated over and is no single thing."""
    if type(value) is list:
        return value
    if isinstance(value, EventData):
        raise TypeError(f"{name} must be several EventData: put the single event into a list")
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be an iterable, not {type(value).__name__}: {shown(value)}")
    return value


def encode_event(codec: Codec, event: object) -> EncodedEvent:
    """Return *event* ready to be stored.

    Raises:
        TypeError: It is no `EventData`.
        SerializationError: It cannot be stored.
    """
    if not isinstance(event, EventData):
        raise TypeError(f"events must be EventData, not {type(event).__name__}: {shown(event)}")
    return codec.encode(event)


def _checked(append: Append) -> Append:
    """Return *append* if its event ids are distinct and its size is allowed."""
    if len(append) == 1 and len(append[0].events) == 1:  # nothing to repeat, and small enough
        return append
    # By number: the hash of a UUID is computed in Python, which is slow.
    ids = [event.event_id.int for part in append for event in part.events]
    if len(set(ids)) < len(ids):
        [(repeated, _)] = Counter(ids).most_common(1)
        raise DuplicateEventError(UUID(int=repeated))
    size = sum(payload_bytes(part.events) for part in append)
    if size > MAX_APPEND_BYTES:
        raise ValueError(
            f"events are {size:,} bytes, at most {MAX_APPEND_BYTES:,} are possible in one append"
        )
    return append


def first_results(
    append: Append,
    refusal: StoredOtherwiseError,
    codec: Codec,
    storage: Storage,
    deadline: float,
) -> tuple[AppendResult, ...]:
    """Return where *append* was stored before, with other bytes that hold the same values.

    Raises:
        DuplicateEventError: An event has another type or other data.
        StorageUnavailableError: No answer before *deadline*.
    """
    for part, start in _repeated(append, refusal):
        count, forward = len(part.events), ReadDirection.FORWARD
        stored = storage.read_stream(part.stream_id, start, count, forward, deadline)
        _check_same(part, stored, refusal, codec)
    return refusal.results


async def first_results_in(
    transaction: CallerTransaction,
    append: Append,
    refusal: StoredOtherwiseError,
    codec: Codec,
    deadline: float,
) -> tuple[AppendResult, ...]:
    """Do what `first_results` does, in a transaction that may have stored *append* itself."""
    for part, start in _repeated(append, refusal):
        stored = await transaction.read_stream(part.stream_id, start, len(part.events), deadline)
        _check_same(part, stored, refusal, codec)
    return refusal.results


def _repeated(append: Append, refusal: StoredOtherwiseError) -> Iterator[tuple[StreamAppend, int]]:
    """Yield each part of *append* that has events, and the version of the first in its stream."""
    for part, result in zip(append, refusal.results, strict=True):
        if result.first_version is not None:
            yield part, result.first_version


def _check_same(
    part: StreamAppend, stored: list[StoredEvent], refusal: StoredOtherwiseError, codec: Codec
) -> None:
    for event, found in zip(part.events, stored, strict=False):
        if not codec.is_same(event, found):
            raise DuplicateEventError(event.event_id, OTHERWISE) from None
    if len(stored) < len(part.events):  # they were deleted just now
        raise refusal
