"""Any interleaving of what can happen to a delivery, against a model that keeps every event."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from eventstore.model.subscription import BatchBy, SubscriptionState
from eventstore_actors.delivering.batch_size import BatchSize
from eventstore_actors.delivering.delivery import Delivery, Limits
from eventstore_actors.delivering.parcels import Parcel
from eventstore_actors.delivering.undelivered_ack import UndeliveredAckError
from tests.support.effort import examples


@dataclass(frozen=True)
class Stored:
    position: int
    stream_id: str
    size: int
    wanted: bool


LARGEST = 30
"""More than the buffer of any example holds."""

stored_events = st.lists(
    st.tuples(
        st.integers(1, 3),  # distance to the event before: more than 1 is a gap
        st.sampled_from("ab"),
        st.sampled_from([0, 1, 2, 5, LARGEST]),
        st.booleans() | st.just(value=True),
    ),
    min_size=1,
    max_size=6,
)


class DeliveryMachine(RuleBasedStateMachine):
    """G13, G14, G15, G18, G19, G20, G22, G38."""

    def __init__(self) -> None:
        super().__init__()
        self.store: list[Stored] = []
        self.head = 0
        self.acknowledged = 0
        """Everything up to it was acknowledged, in any run: kept by the machine itself."""
        self.sent: list[Stored] = []
        """What this run gave out and did not take back."""
        self.highest_checkpoint = 0
        self.last_batch = 1

    @initialize(
        start=st.integers(0, 4),
        batch_by=st.sampled_from(BatchBy),
        max_batch_size=st.integers(1, 4),
        buffer_size=st.integers(1, 6),
        buffer_bytes=st.integers(1, 12),
        one_per_key=st.booleans(),
        events=stored_events,
    )
    def begin(
        self,
        start: int,
        batch_by: BatchBy,
        max_batch_size: int,
        buffer_size: int,
        buffer_bytes: int,
        *,
        one_per_key: bool,
        events: list[tuple[int, str, int, bool]],
    ) -> None:
        self.limits = Limits(
            batch_by=batch_by,
            max_batch_size=max_batch_size,
            buffer_size=buffer_size,
            buffer_bytes=buffer_bytes,
            one_per_key=one_per_key,
        )
        self.batch_size = BatchSize(max_batch_size)
        self.start = self.acknowledged = self.highest_checkpoint = start
        self._store(events)
        self._begin_run(start)

    def _begin_run(self, checkpoint: int) -> None:
        self.run_start = checkpoint
        self.sent = []
        self.put_in = checkpoint
        self.announced = self.head
        self.delivery = Delivery(checkpoint, self.head, self.limits, self.batch_size)

    # ── the outside world ────────────────────────────────────────────────────────────────────

    @rule(events=stored_events, announced=st.booleans())
    def append(self, events: list[tuple[int, str, int, bool]], *, announced: bool) -> None:
        self._store(events)
        if announced:
            self._announce(self.head)

    def _announce(self, position: int | None) -> None:
        self.announced = max(self.announced, position or 0)
        self.delivery.announce(position)

    def _store(self, events: list[tuple[int, str, int, bool]]) -> None:
        for distance, stream_id, size, wanted in events:
            self.head += distance
            self.store.append(Stored(self.head, stream_id, size, wanted))

    @rule(position=st.none() | st.integers(0, 12))
    def announce_anything(self, position: int | None) -> None:
        """BPR-03: bogus, stale and vague announcements."""
        self._announce(position)

    @rule(announced=st.booleans(), put_in=st.none() | st.integers(0, 3))
    def read(self, *, announced: bool, put_in: int | None) -> None:
        """A page, perhaps of which only a part can be decoded."""
        wanted = self.delivery.begin_read()
        if wanted is None:
            return
        page = self._page(wanted.after, wanted.count, wanted.max_bytes)
        if announced:
            self._announce(self.head)
        self._put_in(page[:put_in])
        self.delivery.end_read(exhausted=not page)

    @rule()
    def read_and_send(self) -> None:
        """What a healthy subscription does after every message."""
        while (wanted := self.delivery.begin_read()) is not None:
            page = self._page(wanted.after, wanted.count, wanted.max_bytes)
            self._put_in(page)
            self.delivery.end_read(exhausted=not page)
            while self._send():
                pass

    def _page(self, after: int, count: int, max_bytes: int) -> list[Stored]:
        assert 1 <= count <= self.limits.buffer_size
        assert 1 <= max_bytes <= self.limits.buffer_bytes
        page: list[Stored] = []
        for event in self.store:
            if event.position <= after:
                continue
            if len(page) == count:
                break
            if page and sum(e.size for e in page) + event.size > max_bytes:
                break
            page.append(event)
        return page

    def _put_in(self, page: list[Stored]) -> None:
        for event in page:
            self.put_in = event.position
            if event.wanted:
                self.delivery.put_in(event.position, event.stream_id, event.size, event)
            else:
                self.delivery.pass_over(event.position)

    # ── the subscriber ───────────────────────────────────────────────────────────────────────

    @rule()
    def send(self) -> None:
        self._send()

    def _send(self) -> bool:
        room = self.limits.buffer_size - self.delivery.in_flight
        batch = self.delivery.next_batch()
        self._check_batch(batch, room)
        return bool(batch)

    def _check_batch(self, batch: list[Parcel], room: int) -> None:
        if not batch:
            return
        assert self.delivery.state is not SubscriptionState.PAUSED, "G20"
        assert len(batch) <= min(self.limits.max_batch_size, room), "G18"
        assert len(batch) <= self.batch_size.limit
        self.last_batch = len(batch)
        if self.limits.batch_by is BatchBy.STREAM:
            assert len({parcel.stream_id for parcel in batch}) == 1, "G18"
        if self.limits.one_per_key:
            busy = {e.stream_id for e in self.sent if e.position > self.acknowledged}
            assert not busy & {parcel.stream_id for parcel in batch}, "G38"
        self.sent += [parcel.event for parcel in batch]
        wanted = [e for e in self.store if e.wanted and e.position > self.run_start]
        assert self.sent == wanted[: len(self.sent)], "G13, G14: all of them, in order"

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """Whole batches, parts of them, and again what was acknowledged before."""
        self._acknowledge(data.draw(st.sampled_from(self.sent)).position)

    @precondition(lambda self: self.sent)
    @rule()
    def acknowledge_everything(self) -> None:
        self._acknowledge(self.sent[-1].position)

    def _acknowledge(self, position: int) -> None:
        self.delivery.acknowledge(position)
        self.acknowledged = max(self.acknowledged, position)

    @rule(distance=st.integers(1, 5))
    def acknowledge_what_was_not_sent(self, distance: int) -> None:
        """G19."""
        last = self.sent[-1].position if self.sent else self.run_start
        position = max(last, self.delivery.checkpoint) + distance
        before = self.delivery.checkpoint, self.delivery.in_flight
        with pytest.raises(UndeliveredAckError):
            self.delivery.acknowledge(position)
        assert (self.delivery.checkpoint, self.delivery.in_flight) == before

    # ── what interrupts it ───────────────────────────────────────────────────────────────────

    @rule(paused=st.sampled_from([True, False, False, False]))
    def set_paused(self, *, paused: bool) -> None:
        if paused:
            self.delivery.pause()
        else:
            self.delivery.resume()

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        """Batches that a callable has not begun when its subscription is paused."""
        unacknowledged = [e.position for e in self.sent if e.position > self.acknowledged]
        kept = data.draw(st.sampled_from([self.acknowledged, *unacknowledged]))
        self.delivery.take_back(kept)
        self.sent = [event for event in self.sent if event.position <= kept]

    @rule()
    def redeliver(self) -> None:
        """F22: a handler that raised; the batch comes again in smaller ones."""
        self.batch_size.failed(self.last_batch)
        assert self.batch_size.limit <= max(1, self.last_batch // 2)
        self.run_start = self.delivery.checkpoint
        if self.delivery.in_flight:
            self.put_in = self.run_start
        self.sent = []
        self.delivery.redeliver()
        assert self.delivery.checkpoint == self.run_start, "G14"

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """A new owner starts at the stored checkpoint, which may be an older one."""
        checkpoint = data.draw(st.integers(self.start, self.delivery.checkpoint))
        self.acknowledged = self.highest_checkpoint = checkpoint
        self._begin_run(checkpoint)

    # ── what always holds ────────────────────────────────────────────────────────────────────

    @invariant()
    def no_more_is_in_flight_than_allowed(self) -> None:
        """G18."""
        in_flight = [e for e in self.sent if e.position > self.acknowledged]
        assert len(in_flight) == self.delivery.in_flight <= self.limits.buffer_size
        size = sum(event.size for event in in_flight)
        assert size == self.delivery.in_flight_bytes
        assert size <= self.limits.buffer_bytes or len(in_flight) == 1

    @invariant()
    def memory_is_bounded(self) -> None:
        """G22."""
        held = self.delivery.in_flight + self.delivery.queued
        assert held <= 2 * self.limits.buffer_size
        size = self.delivery.in_flight_bytes + self.delivery.queued_bytes
        one_larger_event = LARGEST
        assert size <= 2 * (self.limits.buffer_bytes + one_larger_event)

    @invariant()
    def nothing_at_or_below_the_checkpoint_is_unacknowledged(self) -> None:
        """G15."""
        checkpoint = self.delivery.checkpoint
        for event in self.store:
            if self.run_start < event.position <= checkpoint and event.wanted:
                assert event.position <= self.acknowledged

    @invariant()
    def the_checkpoint_never_goes_back(self) -> None:
        assert self.delivery.checkpoint >= self.highest_checkpoint
        self.highest_checkpoint = self.delivery.checkpoint

    @invariant()
    def every_acknowledgement_counts(self) -> None:
        assert self.delivery.checkpoint >= min(self.acknowledged, self._first_unacknowledged() - 1)

    def _first_unacknowledged(self) -> int:
        pending = [e for e in self.sent if e.position > self.acknowledged]
        return pending[0].position if pending else self.acknowledged + 1

    @invariant()
    def live_means_that_everything_announced_was_sent(self) -> None:
        if self.delivery.state is SubscriptionState.LIVE:
            assert self.delivery.queued == 0
            assert self.put_in >= self.announced

    def teardown(self) -> None:
        """Everything is delivered in the end."""
        if not hasattr(self, "delivery"):
            return
        self.delivery.resume()
        self._announce(self.head)
        for _ in self.store:
            self.read_and_send()
            while self._send():
                pass
            if self.sent:
                self._acknowledge(self.sent[-1].position)
        self.read_and_send()
        assert self.sent == [e for e in self.store if e.wanted and e.position > self.run_start]
        last = max((e.position for e in self.store), default=0)
        assert self.delivery.checkpoint >= last, "G13"
        assert self.delivery.checkpoint <= max(last, self.start)


TestDelivery = DeliveryMachine.TestCase
TestDelivery.settings = settings(max_examples=examples(100), stateful_step_count=50)
