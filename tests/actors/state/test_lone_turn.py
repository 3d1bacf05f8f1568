"""Which subscription of a store may have an event alone in flight."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from eventstore_actors.kernel.messages import Continue
from eventstore_actors.state.lone_turn import LoneTurn
from tests.support.rooms import LONG, Ear


@pytest.fixture
def ears() -> Iterator[list[Ear]]:
    ears = [Ear() for _ in range(3)]
    yield ears
    for ear in ears:
        ear.ref.stop()


def test_who_queues_for_it_is_told(ears: list[Ear]) -> None:
    """G38: in the order in which they asked."""
    turn, (first, second, third) = LoneTurn(), ears
    assert turn.take(first.ref, LONG) is None
    for later in (second, third, second):
        again_at = turn.take(later.ref, LONG)
        assert again_at is not None
        assert again_at > time.monotonic()
    assert turn.take(first.ref, LONG) is None

    turn.leave(first.ref)

    assert second.next() == Continue()
    assert turn.take(second.ref, LONG) is None
    turn.leave(third.ref)
    turn.leave(second.ref)
    assert third.so_far() == []
    assert turn.take(first.ref, LONG) is None


def test_nobody_waits_for_longer_than_it_lets_others_have_it(ears: list[Ear]) -> None:
    """G38: an event that takes long holds up no other subscription."""
    turn, (slow, other, _) = LoneTurn(), ears
    assert turn.take(slow.ref, LONG) is None
    assert turn.take(other.ref, 0.0) is None
    assert turn.take(slow.ref, LONG) is not None
