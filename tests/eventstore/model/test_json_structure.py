"""The structure of JSON text is found from its bytes, and agrees with its values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.model.json_structure import is_deeper, members

_TEXT = st.text() | st.sampled_from(["[", "]}", '"', "\\", '\\"', "\\\\", ":", '":[', '{"a":'])
_VALUES = st.recursive(
    st.none() | st.integers() | _TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
)


def depth(value: Any) -> int:
    match value:
        case dict():
            return 1 + max(map(depth, value.values()), default=0)
        case list():
            return 1 + max(map(depth, value), default=0)
    return 0


def count(value: Any) -> int:
    match value:
        case dict():
            return len(value) + sum(map(count, value.values()))
        case list():
            return sum(map(count, value))
    return 0


@given(_VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_depth_and_members_are_those_of_the_value(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    """F25, F56: whatever is in its strings, and however it is written."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")
    assert members(text) == count(value)
    for levels in range(6):
        assert is_deeper(text, levels) == (depth(value) > levels)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b'{"a":1,"a":2}', 2),
        (b'[{"a":{"b":1,"b":2}}]', 3),
        (b'{"a:":":"}', 1),
        (rb'{"\\":1,"\":":2}', 2),
        (b"17", 0),
    ],
)
def test_a_repeated_name_counts_again(text: bytes, number: int) -> None:
    """F56."""
    assert members(text) == number
