"""How long a checkpoint is held back that has moved on."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from eventstore_actors.delivering.checkpoint_policy import CheckpointPolicy


def test_without_limits_nothing_is_held_back() -> None:
    policy = CheckpointPolicy(None, None)

    assert not any(policy.holds_back(moved, now=100.0) for moved in (0, 1, 2, 500))


def test_up_to_a_threshold_it_is_held_back_for_any_time() -> None:
    """ACK-02."""
    policy = CheckpointPolicy(None, 10)

    assert all(policy.holds_back(moved, now=1e9 * moved) for moved in range(1, 10))
    assert policy.due_at == math.inf
    assert not policy.holds_back(10, now=1e12)


def test_it_is_held_back_for_the_time_from_the_first_move_on() -> None:
    """However much it moves meanwhile: in the original, a steady trickle postpones it."""
    policy = CheckpointPolicy(2.0, None)
    assert not policy.holds_back(0, now=90.0)

    assert all(policy.holds_back(1_000 * moved, now=99.0 + moved) for moved in (1, 2))
    assert policy.due_at == 102.0
    assert not policy.holds_back(3_000, now=102.0)


def test_of_two_limits_the_first_counts() -> None:
    assert not CheckpointPolicy(60.0, 3).holds_back(3, now=0.0)
    policy = CheckpointPolicy(2.0, 3)
    assert policy.holds_back(1, now=0.0)
    assert not policy.holds_back(2, now=2.0)


def test_what_is_stored_begins_a_new_time() -> None:
    policy = CheckpointPolicy(2.0, None)
    policy.holds_back(1, now=0.0)
    policy.stored()
    assert policy.due_at == math.inf

    assert policy.holds_back(1, now=5.0)
    assert policy.due_at == 7.0


@given(
    after=st.none() | st.floats(0.01, 10),
    threshold=st.none() | st.integers(1, 20),
    moves=st.lists(st.tuples(st.integers(0, 5), st.floats(0, 5))),
)
def test_never_more_and_never_longer_than_its_limits(
    after: float | None, threshold: int | None, moves: list[tuple[int, float]]
) -> None:
    """G15: and what moved is stored in the end."""
    policy = CheckpointPolicy(after, threshold)
    now, checkpoint, stored = 0.0, 0, 0
    first_move = math.inf
    for move, time in moves:
        now += time
        if move and checkpoint == stored:
            first_move = now
        checkpoint += move
        if policy.holds_back(checkpoint - stored, now):
            assert threshold is None or checkpoint - stored < threshold
            assert after is None or now < first_move + after
            assert (after, threshold) != (None, None)
        else:
            reached = after is not None and now >= first_move + after
            most = (1 if after is None else math.inf) if threshold is None else threshold
            assert checkpoint == stored or reached or checkpoint - stored >= most
            stored = checkpoint
            policy.stored()
