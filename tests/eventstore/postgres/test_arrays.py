"""Arrays in binary format: what the server reads is what was written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from psycopg.adapt import Transformer
from psycopg.pq import Format

from eventstore.storages.postgres import arrays
from eventstore.storages.postgres.arrays import BinaryArray

ID = UUID("01a20ca4-06d2-7105-9101-6807c177c371")


def read_back(array: BinaryArray) -> object:
    """Read *array* as the driver reads what the server sends in the same format."""
    loader = Transformer().get_loader(array.array_oid, Format.BINARY)
    return loader.load(array.data)


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (arrays.int4_array([1, -1, 2**31 - 1]), [1, -1, 2**31 - 1]),
        (arrays.int8_array([0, -(2**63), 2**63 - 1]), [0, -(2**63), 2**63 - 1]),
        (arrays.text_array(["", "ünï'\\", None, "x"]), ["", "ünï'\\", None, "x"]),
        (arrays.bytes_array([b"", b"\x00\xff", None]), [b"", b"\x00\xff", None]),
        (arrays.uuid_array([ID, None]), [ID, None]),
        (arrays.repeated([2, 0, 3]), [1, 1, 3, 3, 3]),
        (arrays.ascending([2, 0, 3]), [1, 2, 1, 2, 3]),
        (arrays.text_array([]), []),
        (arrays.bytes_array([]), []),
        (arrays.repeated([0, 0]), []),
    ],
)
def test_what_is_read_back_is_what_went_in(array: BinaryArray, values: list[object]) -> None:
    """G10: nulls, empty values and no values included."""
    assert read_back(array) == values


@pytest.mark.parametrize(
    "time",
    [
        datetime(2013, 1, 1, 5, 15, 59, 999_999, tzinfo=UTC),
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=-12))),
        datetime(1999, 12, 31, 23, 59, 59, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    ],
)
def test_times_are_exact_to_the_microsecond(time: datetime) -> None:
    """G10: before and after the epoch that PostgreSQL counts from, in any zone."""
    assert read_back(arrays.timestamp_array([time, None])) == [time, None]
