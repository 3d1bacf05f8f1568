"""A series is cut into runs that one append each can store in its order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.client.runs import MAX_RUN_BYTES, by_stream, halves, runs


class Line(NamedTuple):
    number: int
    stream_id: str
    size: int = 10


def test_a_run_ends_where_a_stream_comes_back() -> None:
    """An append names each stream once, and the order given is to be the order stored."""
    lines = [Line(n, stream) for n, stream in enumerate("aabbcab", start=1)]
    assert [[item.number for item in run] for run in runs(lines, 99)] == [[1, 2, 3, 4, 5], [6, 7]]


def test_a_run_is_bounded_in_items_and_in_bytes() -> None:
    many = list(runs((Line(n, "s") for n in range(21)), 10))
    assert [len(run) for run in many] == [10, 10, 1]
    large = list(runs((Line(n, "s", MAX_RUN_BYTES // 2) for n in range(3)), 10))
    assert [len(run) for run in large] == [2, 1]
    huge = list(runs((Line(n, "s", 2 * MAX_RUN_BYTES) for n in range(2)), 10))
    assert [len(run) for run in huge] == [1, 1]


@given(st.lists(st.sampled_from("abcdef"), max_size=60), st.integers(1, 10))
def test_runs_keep_the_order_and_name_each_stream_once(streams: list[str], most: int) -> None:
    lines = [Line(n, stream) for n, stream in enumerate(streams)]
    found = list(runs(lines, most))
    assert [line for run in found for _, some in by_stream(run) for line in some] == lines
    for run in found:
        named = [stream_id for stream_id, _ in by_stream(run)]
        assert len(named) == len({*named})


def test_what_came_before_an_error_is_a_run_first() -> None:
    def broken() -> Iterator[Line]:
        yield Line(1, "a")
        raise KeyError("next")

    found = runs(broken(), 9)
    assert next(found) == [Line(1, "a")]
    with pytest.raises(KeyError):
        next(found)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_halves_are_smaller_and_keep_the_order(count: int) -> None:
    run = [Line(number, "a") for number in range(count)]
    first, second = halves(run)
    assert first
    assert second
    assert first + second == run
