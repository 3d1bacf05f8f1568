"""Batches that fail shrink, and grow again when none fails."""

from __future__ import annotations

import random
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.model.subscription import BatchBy
from eventstore_actors.delivering.batch_size import DELIVERIES, BatchSize
from eventstore_actors.delivering.delivery import Delivery, Limits

largest = st.integers(1, 1_000)


def reduced(most: int, *failed: int) -> BatchSize:
    size = BatchSize(most)
    for events in failed:
        size.failed(events)
    return size


def deliver(size: BatchSize, batches: int, first: int = 1) -> None:
    for end in range(first, first + batches):
        size.sent(end)
        size.acknowledged(end)


def test_a_batch_that_failed_is_half_as_large_down_to_one_event() -> None:
    """F22."""
    size = BatchSize(100)
    limits = []
    for _ in range(8):
        size.failed(size.limit)
        limits.append(size.limit)

    assert limits == [50, 25, 12, 6, 3, 1, 1, 1]


def test_what_failed_counts_where_it_was_less_than_the_limit() -> None:
    """F22: a batch of 6 is not delivered again as it was, five times."""
    assert reduced(100, 6).limit == 3
    assert reduced(10, 100).limit == 5, "one that was sent under a higher limit"


def test_it_doubles_after_so_many_deliveries_without_a_failure() -> None:
    """F22: up to where it began."""
    size = reduced(6, 2)
    limits = []
    for turn in range(4):
        deliver(size, DELIVERIES - 1, first=100 * turn)
        limits.append(size.limit)
        deliver(size, 1, first=100 * turn + 50)
        limits.append(size.limit)

    assert limits == [1, 2, 2, 4, 4, 6, 6, 6]


def test_a_failure_starts_the_count_again() -> None:
    """F22."""
    size = reduced(8, 8)
    deliver(size, DELIVERIES - 1)
    size.failed(4)
    deliver(size, DELIVERIES - 1, first=100)
    assert size.limit == 2
    deliver(size, 1, first=200)
    assert size.limit == 4


def test_one_acknowledgement_of_many_batches_is_as_many_deliveries() -> None:
    """F22, G19."""
    size = reduced(8, 2)
    for end in range(1, 2 * DELIVERIES + 1):
        size.sent(end)

    size.acknowledged(2 * DELIVERIES)

    assert size.limit == 4


def test_at_a_reduced_limit_few_batches_are_in_flight() -> None:
    """F22: all that are have the old size, so a higher limit would come too late."""
    size = reduced(8, 2)
    for end in range(1, DELIVERIES + 1):
        assert size.may_send
        size.sent(end)

    assert not size.may_send
    size.acknowledged(1)
    assert size.may_send
    assert BatchSize(8).may_send


@pytest.mark.parametrize("how", ["a part", "taken back", "a new run", "failed"])
def test_what_was_not_delivered_as_a_whole_is_no_delivery(how: str) -> None:
    """F22."""
    size = reduced(8, 2)
    for end in range(10, 10 * DELIVERIES + 1, 10):
        size.sent(end)

    if how == "a part":
        size.acknowledged(10 * DELIVERIES - 1)
    elif how == "taken back":
        size.taken_back(10 * DELIVERIES - 10)
        size.acknowledged(10 * DELIVERIES)
    elif how == "a new run":
        size.restart()
        size.acknowledged(10 * DELIVERIES)
    else:
        size.acknowledged(10 * DELIVERIES - 10)
        size.failed(1)
        size.restart()
        deliver(size, DELIVERIES - 1, first=1_000)

    assert size.limit == 1


@given(most=largest, outcomes=st.lists(st.none() | st.integers(1, 2_000), max_size=200))
def test_it_follows_its_rules_over_any_history(most: int, outcomes: list[int | None]) -> None:
    """F22: None is a delivery, a number is a failure of so many events."""
    size, row = BatchSize(most), 0
    for end, events in enumerate(outcomes, start=1):
        before = size.limit
        if events is None:
            deliver(size, 1, first=end)
            row += 1
            grows = row == DELIVERIES and before < most
            assert size.limit == (min(2 * before, most) if grows else before)
            row = 0 if grows or before == most else row
        else:
            size.failed(events)
            size.restart()
            row = 0
            assert size.limit == max(1, min(before, events) // 2)
        assert 1 <= size.limit <= most


@given(most=largest, failures=st.lists(st.integers(1, 1_000), max_size=20))
def test_without_failures_it_is_where_it_began_soon(most: int, failures: list[int]) -> None:
    """F22, G22."""
    size = reduced(most, *failures)

    deliver(size, DELIVERIES * ceil(log2(most) + 1))

    assert size.limit == most


def posts_per_event(seed: int, share: float, events: int = 2_000) -> float:
    """Send events to a target that refuses a share of them; count how often each is sent."""
    chance = random.Random(seed)
    limits = Limits(
        batch_by=BatchBy.ANY, max_batch_size=100, buffer_size=500, buffer_bytes=1_000_000
    )
    size = BatchSize(100)
    delivery, posts = Delivery(0, events, limits, size), 0
    while delivery.checkpoint < events:
        if (wanted := delivery.begin_read()) is not None:
            page = range(wanted.after + 1, min(wanted.after + wanted.count, events) + 1)
            for position in page:
                delivery.put_in(position, "s", 1, position)
            delivery.end_read(exhausted=not page)
        batch = delivery.next_batch()
        for _ in batch:
            posts += 1
            assert posts < 100 * events, f"stuck at {delivery.checkpoint}"
            if chance.random() < share:
                size.failed(len(batch))
                delivery.redeliver()
                break
        else:
            if batch:
                delivery.acknowledge(batch[-1].position)
    return posts / events


@pytest.mark.parametrize("seed", range(5))
def test_a_target_that_fails_often_gets_little_twice(seed: int) -> None:
    """F22, G13: 30 % of the events; each is sent 1.43 times at best."""
    assert posts_per_event(seed, 0.3) < 1.75


@pytest.mark.parametrize("seed", range(5))
def test_a_target_that_fails_rarely_gets_little_twice(seed: int) -> None:
    """F22: 1 % of the events; batches stay large enough to be batches."""
    assert posts_per_event(seed, 0.01) < 1.5
