from __future__ import annotations

import time
from collections.abc import Set as AbstractSet

import pytest

from eventstore.model.names import MAX_POSITION
from eventstore.model.subscription import BatchBy, SubscriptionState
from eventstore_actors.delivering.delivery import Delivery, Limits
from eventstore_actors.delivering.parcels import Parcel
from eventstore_actors.delivering.undelivered_ack import UndeliveredAckError


def delivery(
    *,
    checkpoint: int = 0,
    head: int = 0,
    batch_by: BatchBy = BatchBy.STREAM,
    max_batch_size: int = 100,
    buffer_size: int = 500,
    buffer_bytes: int = 1_000_000,
    one_per_key: bool = False,
    gathers: bool = False,
    held: AbstractSet[str] = frozenset(),
) -> Delivery:
    limits = Limits(
        batch_by=batch_by,
        max_batch_size=max_batch_size,
        buffer_size=buffer_size,
        buffer_bytes=buffer_bytes,
        one_per_key=one_per_key,
        gathers=gathers,
    )
    return Delivery(checkpoint, head, limits, held=held)


def fill(subject: Delivery, *positions: int, stream: str = "s", size: int = 1) -> None:
    assert subject.begin_read()
    for position in positions:
        subject.put_in(position, stream, size, position)
    subject.end_read(exhausted=not positions)


def state(subject: Delivery) -> SubscriptionState:
    return subject.state


def positions(batch: list[Parcel]) -> list[int]:
    return [parcel.position for parcel in batch]


def batches(subject: Delivery) -> list[list[int]]:
    return [positions(batch) for batch in iter(subject.next_batch, [])]


def test_the_first_read_is_after_the_checkpoint() -> None:
    read = delivery(checkpoint=7, buffer_size=10, buffer_bytes=100).begin_read()

    assert read is not None
    assert (read.after, read.count, read.max_bytes) == (7, 10, 100)


def test_batches_hold_at_most_the_batch_size_in_order() -> None:
    """G18, SUB-13."""
    subject = delivery(max_batch_size=3)
    fill(subject, *range(1, 11))

    assert batches(subject) == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]


def test_a_batch_holds_events_of_one_stream() -> None:
    """G18."""
    subject = delivery()
    assert subject.begin_read()
    for position, stream in enumerate("aabba", start=1):
        subject.put_in(position, stream, 1, None)
    subject.end_read(exhausted=False)

    assert batches(subject) == [[1, 2], [3, 4], [5]]


def test_a_batch_by_any_holds_events_of_several_streams() -> None:
    """G18."""
    subject = delivery(batch_by=BatchBy.ANY)
    assert subject.begin_read()
    for position, stream in enumerate("aabba", start=1):
        subject.put_in(position, stream, 1, None)
    subject.end_read(exhausted=False)

    assert batches(subject) == [[1, 2, 3, 4, 5]]


def test_each_acknowledged_event_makes_room_for_one_more() -> None:
    """G18, FSM-13, FSM-16: the window slides by what was acknowledged."""
    subject = delivery(buffer_size=3)
    fill(subject, 1, 2, 3)
    assert batches(subject) == [[1, 2, 3]]
    fill(subject, 4, 5, 6)
    assert state(subject) is SubscriptionState.FULL
    assert batches(subject) == []

    subject.acknowledge(1)

    assert batches(subject) == [[4]]
    assert state(subject) is SubscriptionState.FULL


def test_it_reads_ahead_no_more_than_may_be_in_flight() -> None:
    """G22: a subscriber that acknowledges nothing costs twice its buffer, whatever the backlog."""
    subject = delivery(buffer_size=3)
    fill(subject, 1, 2, 3)
    assert batches(subject) == [[1, 2, 3]]
    fill(subject, 4, 5, 6)

    assert subject.begin_read() is None


def test_what_it_reads_next_fits_beside_what_is_queued() -> None:
    """G22."""
    subject = delivery(buffer_size=10, buffer_bytes=100)
    fill(subject, *range(1, 11), size=1)
    assert batches(subject) == [list(range(1, 11))]
    fill(subject, 11, 12, 13, size=20)

    assert subject.begin_read() is None, "more than half of the bytes are used"
    subject.acknowledge(10)
    assert positions(subject.next_batch()) == [11, 12, 13]
    fill(subject, 14, 15, size=20)
    read = subject.begin_read()

    assert read is not None
    assert (read.after, read.count, read.max_bytes) == (15, 8, 60)


def test_bytes_in_flight_are_bounded() -> None:
    """G18."""
    subject = delivery(buffer_bytes=10)
    fill(subject, 1, 2, 3, size=4)

    assert batches(subject) == [[1, 2]]
    subject.acknowledge(1)
    assert batches(subject) == [[3]]


def test_it_is_full_exactly_when_the_next_event_has_no_room() -> None:
    """G32: by number or by bytes."""
    few = delivery(max_batch_size=1, buffer_size=2)
    fill(few, 1, 2)
    states = [state(few) for _ in iter(few.next_batch, [])]
    assert states == [SubscriptionState.CATCHING_UP, SubscriptionState.FULL]

    small = delivery(max_batch_size=1, buffer_bytes=10)
    fill(small, 1, 2, 3, size=4)
    assert state(small) is SubscriptionState.CATCHING_UP
    states = [state(small) for _ in iter(small.next_batch, [])]
    assert states == [SubscriptionState.CATCHING_UP, SubscriptionState.FULL]


def test_bytes_that_fit_exactly_fill_the_buffer() -> None:
    """G18, G32."""
    subject = delivery(max_batch_size=1, buffer_bytes=10)
    fill(subject, 1, 2, size=5)

    states = [state(subject) for _ in iter(subject.next_batch, [])]
    assert states == [SubscriptionState.CATCHING_UP, SubscriptionState.FULL]
    assert subject.in_flight_bytes == 10


def test_it_reads_on_when_half_of_what_may_be_queued_is_free() -> None:
    """G22."""
    few = delivery(buffer_size=4)
    fill(few, 1, 2)
    assert few.begin_read()

    small = delivery(buffer_bytes=10)
    fill(small, 1, size=5)
    assert small.begin_read()


def test_an_event_larger_than_the_buffer_goes_alone() -> None:
    """G18."""
    subject = delivery(buffer_bytes=10)
    assert subject.begin_read()
    subject.put_in(1, "s", 2, None)
    subject.put_in(2, "s", 50, None)
    subject.put_in(3, "s", 2, None)
    subject.end_read(exhausted=False)

    assert batches(subject) == [[1]]
    assert state(subject) is SubscriptionState.FULL
    subject.acknowledge(1)
    assert state(subject) is SubscriptionState.CATCHING_UP
    assert batches(subject) == [[2]]
    subject.acknowledge(2)
    assert batches(subject) == [[3]]


def test_acknowledging_is_cumulative() -> None:
    """G19, FSM-08."""
    subject = delivery()
    fill(subject, 1, 2, 3)
    subject.next_batch()
    assert subject.checkpoint == 0

    subject.acknowledge(2)

    assert subject.checkpoint == 2
    assert subject.in_flight == 1


def test_acknowledging_what_was_not_sent_changes_nothing() -> None:
    """G19, BPR-04."""
    subject = delivery(max_batch_size=2)
    fill(subject, 1, 2, 3)
    subject.next_batch()

    with pytest.raises(UndeliveredAckError, match="position 3 was not sent, the highest sent is 2"):
        subject.acknowledge(3)

    assert subject.checkpoint == 0
    assert subject.in_flight == 2


def test_acknowledging_again_is_harmless() -> None:
    """G19."""
    subject = delivery(checkpoint=5)
    fill(subject, 6, 7)
    subject.next_batch()
    subject.acknowledge(7)
    subject.acknowledge(6)
    subject.acknowledge(0)

    assert subject.checkpoint == 7


def test_filtered_events_count_as_acknowledged_once_everything_before_them_is() -> None:
    """G15, CON-14, CON-15."""
    subject = delivery()
    assert subject.begin_read()
    subject.pass_over(1)
    subject.put_in(2, "s", 1, None)
    subject.pass_over(3)
    subject.put_in(5, "s", 1, None)
    subject.pass_over(6)
    subject.end_read(exhausted=False)

    assert subject.checkpoint == 1
    assert batches(subject) == [[2, 5]]
    subject.acknowledge(2)
    assert subject.checkpoint == 3
    subject.acknowledge(5)
    assert subject.checkpoint == 6


def test_the_checkpoint_moves_though_everything_is_filtered() -> None:
    """G15, CON-15."""
    subject = delivery()
    assert subject.begin_read()
    subject.pass_over(1)
    subject.pass_over(2)
    subject.end_read(exhausted=False)

    assert subject.checkpoint == 2
    assert batches(subject) == []


def test_only_an_empty_read_at_the_announced_head_ends_the_catch_up() -> None:
    """G13, FSM-06, FSM-07, FSM-09: an event announced during a read is looked for."""
    subject = delivery(head=2)
    fill(subject, 1, 2)
    subject.next_batch()
    assert state(subject) is SubscriptionState.CATCHING_UP
    assert subject.begin_read()
    subject.announce(3)
    subject.end_read(exhausted=True)
    assert state(subject) is SubscriptionState.CATCHING_UP

    fill(subject, 3)
    subject.next_batch()
    fill(subject)

    assert state(subject) is SubscriptionState.LIVE


def test_what_nobody_was_sure_of_is_looked_for_beyond_what_was_announced() -> None:
    """G13, G23: up to a read that finds nothing; an event may be linked and not announced."""
    subject = delivery()
    subject.announce(None)
    for exhausted in (False, True):
        wanted = subject.begin_read()
        assert wanted is not None
        assert wanted.announced == MAX_POSITION
        subject.end_read(exhausted=exhausted)
    assert state(subject) is SubscriptionState.LIVE

    subject.announce(1)

    wanted = subject.begin_read()
    assert wanted is not None
    assert wanted.announced == 1


def test_an_announcement_of_nobody_knows_how_much_is_looked_for() -> None:
    """G23."""
    subject = delivery()
    fill(subject)
    assert state(subject) is SubscriptionState.LIVE

    subject.announce(None)

    assert state(subject) is SubscriptionState.CATCHING_UP
    assert subject.begin_read()


def test_a_bogus_announcement_skips_nothing() -> None:
    """G15, BPR-03."""
    subject = delivery()
    fill(subject)
    subject.announce(1_000)
    fill(subject)
    assert state(subject) is SubscriptionState.CATCHING_UP
    assert subject.begin_read() is None

    subject.announce(None)
    fill(subject, 1)

    assert batches(subject) == [[1]]
    assert subject.checkpoint == 0


def test_an_old_announcement_costs_no_read() -> None:
    """SUB-17."""
    subject = delivery(checkpoint=5)
    fill(subject)

    subject.announce(4)
    subject.announce(5)

    assert subject.begin_read() is None
    assert state(subject) is SubscriptionState.LIVE


def test_a_failed_read_is_read_again_from_the_same_place() -> None:
    """G15: what was read but not put in is not skipped."""
    subject = delivery()
    assert subject.begin_read()
    subject.put_in(1, "s", 1, None)
    subject.end_read(exhausted=False)

    read = subject.begin_read()

    assert read is not None
    assert read.after == 1


def test_one_page_is_read_at_a_time() -> None:
    """G14: a second one would come from the same place."""
    subject = delivery()
    assert subject.begin_read()
    assert state(subject) is SubscriptionState.CATCHING_UP
    subject.announce(5)

    assert subject.begin_read() is None

    subject.end_read(exhausted=True)
    assert subject.begin_read()


def test_it_says_how_far_it_was_read_filtered_or_not() -> None:
    subject = delivery(checkpoint=3)
    assert subject.read_up_to == 3
    assert subject.begin_read()
    subject.put_in(4, "s", 1, None)
    assert subject.read_up_to == 4
    subject.pass_over(7)
    assert subject.read_up_to == 7


def test_a_page_out_of_order_is_refused() -> None:
    """G14."""
    subject = delivery(checkpoint=3)
    assert subject.begin_read()

    with pytest.raises(ValueError, match="position 3 was read after 3"):
        subject.put_in(3, "s", 1, None)
    with pytest.raises(ValueError, match="position 2 was read after 3"):
        subject.pass_over(2)


def test_paused_it_sends_and_reads_nothing_and_counts_acks() -> None:
    """G20."""
    subject = delivery(max_batch_size=2)
    fill(subject, 1, 2, 3)
    subject.next_batch()

    subject.pause()

    assert subject.paused
    assert state(subject) is SubscriptionState.PAUSED
    assert batches(subject) == []
    assert subject.begin_read() is None
    subject.acknowledge(2)
    assert subject.checkpoint == 2


def test_resumed_it_goes_on_after_the_last_sent() -> None:
    """G20."""
    subject = delivery(max_batch_size=2)
    fill(subject, 1, 2, 3)
    subject.next_batch()
    subject.pause()
    subject.resume()
    assert not subject.paused

    assert batches(subject) == [[3]]


def test_what_nobody_fetched_can_be_taken_back_and_is_sent_again() -> None:
    """G20."""
    subject = delivery(max_batch_size=2, buffer_size=4)
    fill(subject, 1, 2, 3, 4)
    assert batches(subject) == [[1, 2], [3, 4]]

    subject.take_back(2)

    assert subject.in_flight == subject.in_flight_bytes == 2
    assert subject.queued == subject.queued_bytes == 2
    assert subject.sent == 2
    with pytest.raises(UndeliveredAckError):
        subject.acknowledge(4)
    assert batches(subject) == [[3, 4]]


def test_what_was_not_sent_can_be_forgotten_and_is_read_again() -> None:
    """G13, G15: some of it was deleted, and nothing else may be left out."""
    subject = delivery(max_batch_size=2, buffer_size=4)
    fill(subject, 1, 2, 3, 4)
    assert positions(subject.next_batch()) == [1, 2]

    subject.forget_queued()

    assert subject.queued == 0
    read = subject.begin_read()
    assert read is not None
    assert read.after == 2


def test_a_redelivery_starts_right_after_the_checkpoint() -> None:
    """G14, FSM-12."""
    subject = delivery()
    fill(subject, 1, 2, 3)
    subject.next_batch()
    subject.acknowledge(1)

    subject.redeliver()

    assert subject.checkpoint == 1
    assert subject.in_flight == 0
    read = subject.begin_read()
    assert read is not None
    assert read.after == 1
    with pytest.raises(UndeliveredAckError):
        subject.acknowledge(2)


def test_a_redelivery_reads_again_though_it_had_caught_up() -> None:
    """G13: what is delivered again is read anew, without another event."""
    subject = delivery()
    fill(subject, 1, 2, 3)
    fill(subject)
    subject.next_batch()
    assert state(subject) is SubscriptionState.LIVE

    subject.redeliver()

    read = subject.begin_read()
    assert read is not None
    assert read.after == 0


def test_what_nobody_was_handed_is_not_read_again() -> None:
    """G22: the one that failed was given up, the rest is there."""
    subject = delivery(max_batch_size=1)
    fill(subject, 1, 2, 3)
    batches(subject)
    subject.acknowledge(1)
    subject.take_back(1)

    subject.redeliver()

    assert batches(subject) == [[2], [3]]
    read = subject.begin_read()
    assert read is not None
    assert (read.after, read.count) == (3, 500)


def test_after_a_failure_it_reads_one_batch_until_something_is_acknowledged() -> None:
    """G22: if that fails, too, no more has to be read again."""
    subject = delivery(max_batch_size=2)
    fill(subject, 1, 2, 3, 4)
    subject.next_batch()

    subject.redeliver()

    read = subject.begin_read()
    assert read is not None
    assert (read.after, read.count) == (0, 2)
    subject.put_in(1, "s", 1, 1)
    subject.put_in(2, "s", 1, 2)
    subject.end_read(exhausted=False)
    assert subject.begin_read() is None
    assert batches(subject) == [[1, 2]]
    assert subject.begin_read() is None
    subject.acknowledge(1)
    read = subject.begin_read()
    assert read is not None
    assert (read.after, read.count) == (2, 500)


def test_who_acknowledges_several_batches_at_once_gets_them_after_a_failure() -> None:
    """G13: it acknowledges nothing before the last of them."""
    subject = delivery(max_batch_size=2, gathers=True)
    fill(subject, 1, 2, 3, 4)
    subject.next_batch()

    subject.redeliver()

    fill(subject, 1, 2, 3, 4)
    assert batches(subject) == [[1, 2], [3, 4]]
    fill(subject, 5)
    assert batches(subject) == [[5]]


def test_the_next_batch_of_a_key_goes_on_when_it_is_let_go() -> None:
    """G13, G38: until then it waits for the acknowledgement of the one before."""
    subject = delivery(max_batch_size=2, one_per_key=True)
    fill(subject, 1, 2, 3, 4, 5)
    assert batches(subject) == [[1, 2]]

    subject.lets_go = True

    assert batches(subject) == [[3, 4], [5]]
    subject.lets_go = False
    fill(subject, 6)
    subject.acknowledge(4)
    assert batches(subject) == [], "5 is in flight"
    subject.acknowledge(5)
    assert batches(subject) == [[6]]


def test_what_follows_a_parked_event_is_parked_when_it_is_let_go() -> None:
    """G13, G38: the checkpoint stays before what is in flight."""
    subject = delivery(held={"parked"})
    fill(subject, 1)
    fill(subject, 2, stream="parked")
    fill(subject, 3)
    assert batches(subject) == [[1]]
    assert subject.held_up() == []

    subject.lets_go = True
    assert positions(subject.held_up()) == [2]
    subject.drop_queued(2)

    assert (subject.checkpoint, subject.acknowledged) == (0, 0)
    assert batches(subject) == [[3]]
    subject.acknowledge(3)
    assert subject.checkpoint == 3


def test_a_redelivery_in_a_read_is_a_mistake_of_its_caller() -> None:
    """G15: what is being read would be put in behind a hole."""
    subject = delivery()
    assert subject.begin_read()

    with pytest.raises(AssertionError, match="would follow a gap"):
        subject.redeliver()


def _seconds_to_deliver(in_flight: int) -> float:
    subject = delivery(buffer_size=in_flight, max_batch_size=1)
    start = time.thread_time()
    fill(subject, *range(1, in_flight + 1))
    batches(subject)
    for position in range(1, in_flight + 1):
        subject.acknowledge(position)
        assert subject.checkpoint == position
    return time.thread_time() - start


def test_the_time_per_event_does_not_grow_with_what_is_in_flight() -> None:
    """G22: ten times as many events in flight take about ten times as long."""
    few = min(_seconds_to_deliver(2_000) for _ in range(3))
    many = min(_seconds_to_deliver(20_000) for _ in range(3))

    assert many < 30 * few
