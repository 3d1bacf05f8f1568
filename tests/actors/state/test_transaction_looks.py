"""When transactions of callers are looked at: soon, then ever more rarely, all at once."""

from __future__ import annotations

import math

from eventstore_actors.state.transaction_looks import FIRST_PAUSE, TransactionLooks


def test_without_a_transaction_nothing_is_looked_at() -> None:
    """G22: an idle runtime asks for nothing."""
    looks = TransactionLooks(1.0)
    assert looks.due == math.inf
    assert looks.take(1e9) == frozenset()


def test_the_first_look_is_soon_and_the_pauses_double_up_to_the_longest() -> None:
    """G37: most end soon; one that does not costs little."""
    looks = TransactionLooks(0.01)
    looks.add(7, 100.0)
    assert looks.take(100.0) == frozenset()
    pauses, now = [], 100.0
    for _ in range(5):
        pauses.append(round(looks.due - now, 6))
        now = looks.due
        assert looks.take(now) == {7}
    assert pauses == [FIRST_PAUSE, 0.004, 0.008, 0.01, 0.01]


def test_a_new_one_brings_the_next_look_forward() -> None:
    """G37: beside one that has been open for long."""
    looks = TransactionLooks(60.0)
    looks.add(7, 0.0)
    now = 0.0
    for _ in range(20):
        now = looks.due
        looks.take(now)
    assert looks.due > now + 10
    looks.add(8, now)
    assert looks.due == now + FIRST_PAUSE
    assert looks.take(looks.due) == {7, 8}


def test_what_has_ended_is_forgotten() -> None:
    """G22: and the last one ends the looks."""
    looks = TransactionLooks(1.0)
    looks.add(7, 0.0)
    looks.add(8, 0.0)
    looks.remove([7])
    assert looks.take(looks.due) == {8}
    looks.remove([8, 9])
    assert looks.due == math.inf
