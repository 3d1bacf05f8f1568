"""Arrays in PostgreSQL's binary format, built by joining bytes.

They are several times faster than the driver's. Each has one fixed type, so that a statement is
prepared once, whatever the values are. Pure, except for the registration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct
from typing import ClassVar, TypeVar
from uuid import UUID

from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

__all__ = [
    "BinaryArray",
    "ascending",
    "bytes_array",
    "int4_array",
    "int8_array",
    "register_arrays",
    "repeated",
    "text_array",
    "timestamp_array",
    "uuid_array",
]

_HEADER = Struct(">iiI")
_DIMENSION = Struct(">ii")
_LENGTH = Struct(">i")
_INT4 = Struct(">ii")
_INT8 = Struct(">iq")
_NULL = b"\xff\xff\xff\xff"
_UUID_LENGTH = _LENGTH.pack(16)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class BinaryArray:
    """An array in PostgreSQL's binary format. The subclass sets the type of its elements."""

    __slots__ = ("data",)
    element_oid: ClassVar[int]
    array_oid: ClassVar[int]

    def __init__(self, elements: Iterable[bytes], count: int) -> None:
        """Join *count* elements, each with its length before it. *elements* may be pieces."""
        self.data = b"".join([_prefix(self.element_oid, count), *elements])


@lru_cache(maxsize=1024)
def _prefix(element_oid: int, count: int) -> bytes:
    # An empty array has no dimension.
    dimension = _DIMENSION.pack(count, 1) if count else b""
    return _HEADER.pack(1 if count else 0, 1, element_oid) + dimension


class Int4Array(BinaryArray):
    __slots__ = ()
    element_oid, array_oid = 23, 1007


class Int8Array(BinaryArray):
    __slots__ = ()
    element_oid, array_oid = 20, 1016


class TextArray(BinaryArray):
    __slots__ = ()
    element_oid, array_oid = 25, 1009


class BytesArray(BinaryArray):
    __slots__ = ()
    element_oid, array_oid = 17, 1001


class UuidArray(BinaryArray):
    __slots__ = ()
    element_oid, array_oid = 2950, 2951


class TimestampArray(BinaryArray):
    __slots__ = ()
    element_oid, array_oid = 1184, 1185


def int4_array(values: Iterable[int]) -> Int4Array:
    return _of(Int4Array, [_INT4.pack(4, value) for value in values])


def int8_array(values: Iterable[int]) -> Int8Array:
    return _of(Int8Array, [_INT8.pack(8, value) for value in values])


def text_array(values: Iterable[str | None]) -> TextArray:
    return _of(TextArray, [_sized_text(v) if v is not None else _NULL for v in values])


def bytes_array(values: Sequence[bytes | None]) -> BytesArray:
    # Lengths and payloads are joined once at the end, so that payloads are copied once.
    pieces: list[bytes] = []
    for value in values:
        if value is None:
            pieces.append(_NULL)
        else:
            pieces.append(_LENGTH.pack(len(value)))
            pieces.append(value)
    return BytesArray(pieces, len(values))


def uuid_array(values: Iterable[UUID | None]) -> UuidArray:
    return _of(UuidArray, [_UUID_LENGTH + v.bytes if v is not None else _NULL for v in values])


def timestamp_array(values: Iterable[datetime | None]) -> TimestampArray:
    return _of(TimestampArray, [_timestamp(v) if v is not None else _NULL for v in values])


def repeated(counts: Sequence[int]) -> Int4Array:
    """Return 1 repeated the first count of times, then 2 the second count of times, and so on."""
    runs = [_INT4.pack(4, number) * count for number, count in enumerate(counts, start=1)]
    return Int4Array(runs, sum(counts))


def ascending(counts: Sequence[int]) -> Int4Array:
    """Return 1 to the first count, then 1 to the second count, and so on."""
    return Int4Array([_one_to(count) for count in counts], sum(counts))


@lru_cache(maxsize=256)
def _one_to(count: int) -> bytes:
    return b"".join([_INT4.pack(4, number) for number in range(1, count + 1)])


@lru_cache(maxsize=1024)
def _sized_text(value: str) -> bytes:
    data = value.encode()
    return _LENGTH.pack(len(data)) + data


def _timestamp(value: datetime) -> bytes:
    return _INT8.pack(8, (value - _EPOCH) // _MICROSECOND)


Kind = TypeVar("Kind", bound=BinaryArray)


def _of(kind: type[Kind], elements: list[bytes]) -> Kind:
    return kind(elements, len(elements))


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: BinaryArray) -> Buffer:
        return obj.data


_DUMPERS = {
    kind: type(f"{kind.__name__}Dumper", (_ArrayDumper,), {"oid": kind.array_oid})
    for kind in (Int4Array, Int8Array, TextArray, BytesArray, UuidArray, TimestampArray)
}


def register_arrays(adapters: AdaptersMap) -> None:
    """Register the arrays of this module among *adapters*."""
    for kind, dumper in _DUMPERS.items():
        adapters.register_dumper(kind, dumper)
