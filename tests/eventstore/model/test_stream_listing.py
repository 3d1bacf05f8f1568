"""What a listing of streams holds, and where it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.model.stream_listing import StreamListing

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)


@given(TEXT, TEXT, TEXT)
def test_the_end_is_above_all_that_begin_with_the_prefix_and_below_all_others_above_it(
    prefix: str, rest: str, other: str
) -> None:
    end = StreamListing(prefix=prefix).end.encode()
    assert prefix.encode() <= (prefix + rest).encode() < end
    if other.encode() >= prefix.encode() and not other.startswith(prefix):
        assert other.encode() >= end


@pytest.mark.parametrize("prefix", ["", "\U0010ffff", "a\U0010ffff", "\ud7ff"])
def test_the_end_is_text_that_the_database_can_hold(prefix: str) -> None:
    end = StreamListing(prefix=prefix).end
    assert end.encode().decode() == end
    assert (prefix + "\U0010ffff" * (250 - len(prefix))).encode() < end.encode()
