"""The room for more parked events: never taken for larger than it is."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from eventstore.ports.parking import Most, ParkedKey
from eventstore_actors.delivering.parked_room import ParkedRoom

MOST = Most(events=6, of_key=3)


def test_it_is_counted_only_near_the_bounds() -> None:
    """G38."""
    room = ParkedRoom(MOST)
    room.found([ParkedKey("a", None, 2), ParkedKey("b", None, 1)])

    assert room.bounds_for(["a", "b"]) is None
    assert room.bounds_for(["a"]) is MOST
    room.unparked("a")
    assert room.bounds_for(["a", "b", "c"]) is None
    assert room.bounds_for(["d", "e"]) is MOST


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1) | st.sampled_from("abc")))
def test_what_is_not_counted_keeps_within_the_bounds(steps: list[list[str] | str]) -> None:
    """G38: whatever is parked, and removed again."""
    room, there = ParkedRoom(MOST), Counter[str]()
    for step in steps:
        if isinstance(step, str):
            room.unparked(step)
            del there[step]
        elif room.bounds_for(step) is None:
            there.update(step)
            assert there.total() <= MOST.events
            assert max(there.values()) <= MOST.of_key
        else:
            room.found([ParkedKey(key, None, events) for key, events in there.items()])
