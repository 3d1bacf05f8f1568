"""The decisions of one delivery run: what to read, what to send, where the checkpoint is.

Pure: no actor, no thread, no clock, no storage. The caller reads as `begin_read` says, puts in
the events it found, sends the batches of `next_batch` and reports the acknowledgements.

Positions have gaps, left by deleted and by filtered events. So no position is computed by
addition: each event carries the position that was read before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from eventstore.model.names import MAX_POSITION
from eventstore.model.subscription import BatchBy, SubscriptionOptions, SubscriptionState
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.delivering.batch_size import BatchSize
from eventstore_actors.delivering.keys_in_flight import KeysInFlight
from eventstore_actors.delivering.parcels import Parcel, ParcelQueue
from eventstore_actors.delivering.read_request import Read
from eventstore_actors.delivering.undelivered_ack import UndeliveredAckError

__all__ = ["Delivery", "Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on the events in flight and on a batch."""

    batch_by: BatchBy
    max_batch_size: int
    buffer_size: int
    """Most events in flight, and most events read ahead."""
    buffer_bytes: int
    """Most bytes in flight, and most bytes read ahead. A larger event is sent alone."""
    one_per_key: bool = False
    """At most one batch of a key is in flight: else the next one could be handled after an event
    that is parked."""
    gathers: bool = False
    """The subscriber may acknowledge several batches at once, as an actor does."""

    @classmethod
    def of(cls, options: SubscriptionOptions) -> Limits:
        """Return the limits that *options* set."""
        return cls(
            batch_by=options.batch_by,
            max_batch_size=options.max_batch_size,
            buffer_size=options.buffer_size,
            buffer_bytes=options.buffer_bytes,
        )


class Delivery:
    """A delivery run that starts at a checkpoint. Operations are O(1) amortised per event."""

    def __init__(
        self,
        checkpoint: int,
        head: int,
        limits: Limits,
        batch_size: BatchSize | None = None,
        held: AbstractSet[str] = frozenset(),
    ) -> None:
        """Start a run.

        Args:
            checkpoint: Position after which to start.
            head: Position up to which events may exist.
            limits: They hold for the whole run.
            batch_size: The limit of a batch, which failures reduce. Defaults to a new one.
            held: Keys whose events are not sent but parked; it may change. Defaults to none.
        """
        self._limits = limits
        self._batch_size = batch_size or BatchSize(limits.max_batch_size)
        self._batch_size.restart()
        self._held = held
        self._queue = ParcelQueue()
        self._in_flight = ParcelQueue()
        self._busy = KeysInFlight(limits.buffer_size) if limits.one_per_key else None
        self._read = checkpoint
        """Every event up to it was put in or filtered out."""
        self._acknowledged = checkpoint
        self._head = head
        """The highest position announced."""
        self._may_be_more = False
        """There may be events beyond that, as somebody was not sure."""
        self._unread = True
        """There may be events that no read has covered."""
        self._reading = False
        self._paused = False
        self._is_wary = False
        """Nothing was acknowledged since events came again: they may do so once more."""
        self.lets_go = False
        """What waits for an acknowledgement goes on without it: there may be none before that."""

    # ── state ────────────────────────────────────────────────────────────────────────────────

    @property
    def checkpoint(self) -> int:
        """The position up to which every event is acknowledged or filtered out."""
        for parcels in (self._in_flight.parcels, self._queue.parcels):
            if parcels:
                return parcels[0].before
        return self._read

    @property
    def sent(self) -> int:
        """The highest position that may be acknowledged."""
        in_flight = self._in_flight.parcels
        return in_flight[-1].position if in_flight else self.checkpoint

    @property
    def acknowledged(self) -> int:
        """The highest position that was acknowledged; the start of the run before there is one."""
        return self._acknowledged

    @property
    def oldest_in_flight(self) -> Parcel | None:
        in_flight = self._in_flight.parcels
        return in_flight[0] if in_flight else None

    def in_flight_up_to(self, position: int) -> int:
        """Return how many events up to *position* are in flight."""
        return sum(parcel.position <= position for parcel in self._in_flight.parcels)

    @property
    def read_up_to(self) -> int:
        """The position up to which every event was put in or filtered out."""
        return self._read

    @property
    def has_more(self) -> bool:
        """There are events that were put in and not acknowledged."""
        return bool(self._in_flight or self._queue)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def in_flight_bytes(self) -> int:
        return self._in_flight.bytes

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        return self._queue.bytes

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def caught_up(self) -> bool:
        """The last read found nothing and covered everything announced."""
        return not self._unread and not self._reading and self._read >= self._head

    @property
    def state(self) -> SubscriptionState:
        if self._paused:
            return SubscriptionState.PAUSED
        if self._is_full():
            return SubscriptionState.FULL
        if self.caught_up and not self._queue:
            return SubscriptionState.LIVE
        return SubscriptionState.CATCHING_UP

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def announce(self, position: int | None) -> None:
        """Note that there may be events up to *position*; None: up to an unknown position."""
        if position is None:
            self._unread = self._may_be_more = True
        elif position > self._read:
            self._unread = True
            self._head = max(self._head, position)

    def begin_read(self) -> Read | None:
        """Begin a read, which `end_read` ends.

        Returns:
            The read to make; None if there is nothing to read, or no room yet.
        """
        # Reads ahead while the subscriber is busy, but only when half of the buffer is free: else
        # each acknowledgement would cost a read of one event.
        limits, queue = self._limits, self._queue
        if not self._unread or self._reading or self._paused:
            return None
        if 2 * len(queue) > limits.buffer_size or 2 * queue.bytes > limits.buffer_bytes:
            return None
        room = limits.buffer_size - len(queue)
        if self._is_wary:
            # One batch: what is read now may have to be read again.
            if self.has_more:
                return None
            room = min(room, self._batch_size.limit)
        self._reading = True
        self._unread = False
        return Read(
            self._read,
            room,
            max(1, limits.buffer_bytes - queue.bytes),
            MAX_POSITION if self._may_be_more else self._head,
        )

    def put_in(
        self, position: int, stream_id: str, size: int, event: Any, global_position: int = 0
    ) -> None:
        """Queue an event that was read."""
        self._queue.append(Parcel(position, self._read, stream_id, size, event, global_position))
        self._advance(position)

    def put_in_page(
        self, page: Iterable[StoredEvent], deliverable: Callable[[StoredEvent], Any]
    ) -> None:
        """Queue events that were read, each as *deliverable* returns it.

        If it raises, the events before that one are queued.
        """
        # This runs for every event of a catch-up: no call to spare, not even for `stored.size`.
        read, parcels, total = self._read, [], 0
        try:
            for stored in page:
                position, metadata = stored.position, stored.metadata
                if position <= read:
                    raise _already_read(position, read)
                size = len(stored.data) + (0 if metadata is None else len(metadata))
                event, place = deliverable(stored), stored.global_position
                parcels.append(Parcel(position, read, stored.stream_id, size, event, place))
                read = position
                total += size
        finally:
            self._queue.extend(parcels, total)
            self._read = read

    def pass_over(self, position: int) -> None:
        """Filter out an event that was read, or go past deleted ones: nothing to acknowledge."""
        self._advance(position)
        self._is_wary = False

    def end_read(self, *, exhausted: bool) -> None:
        """End the read that `begin_read` began.

        Args:
            exhausted: The read found no event. False if it failed, or if some of its events were
                not put in: they are read again.
        """
        self._reading = False
        if not exhausted:
            self._unread = True
        # What was announced during the read is not covered by it.
        self._may_be_more = self._may_be_more and self._unread

    # ── sending ──────────────────────────────────────────────────────────────────────────────

    def next_batch(self, at_most: int = MAX_POSITION) -> list[Parcel]:
        """Move the events of the next batch, *at_most* so many, from the queue into flight.

        Returns:
            The batch to send; empty if nothing may be sent.
        """
        queue, in_flight, batch_size = self._queue, self._in_flight, self._batch_size
        batch: list[Parcel] = []
        if self._paused or not queue.parcels:
            return batch
        held, busy, lets_go = self._held, self._busy, self.lets_go
        if batch_size.is_reduced and not batch_size.may_send:
            return batch
        limits = self._limits
        most = min(batch_size.limit, at_most, limits.buffer_size - len(in_flight.parcels))
        room = limits.buffer_bytes - in_flight.bytes
        waiting, is_alone = queue.parcels, not in_flight.parcels
        only = waiting[0].stream_id if limits.batch_by is BatchBy.STREAM else None
        size = 0
        while waiting and len(batch) < most:
            parcel = waiting[0]
            if only is not None and parcel.stream_id != only:
                break
            if held and parcel.stream_id in held:
                break
            if busy is not None and not lets_go and busy.holds(parcel.stream_id, in_flight):
                break
            if size + parcel.size > room and not (is_alone and not batch):
                break
            size += parcel.size
            batch.append(waiting.popleft())
        queue.bytes -= size
        if busy is not None:
            busy.sent(batch, in_flight)
        in_flight.extend(batch, size)
        if batch and batch_size.is_reduced:
            batch_size.sent(batch[-1].position)
        return batch

    def held_up(self) -> list[Parcel]:
        """Return the next events that are to be parked, once everything before is acknowledged."""
        if self._paused or not self._held or (self._in_flight and not self.lets_go):
            return []
        return list(takewhile(lambda parcel: parcel.stream_id in self._held, self._queue.parcels))

    def drop_queued(self, position: int) -> None:
        """Forget the queued events up to *position*: they were parked."""
        self._queue.drop_up_to(position)
        self._is_wary = False
        self._acknowledged = max(self._acknowledged, min(position, self.checkpoint))

    def acknowledge(self, position: int) -> None:
        """Take every event up to *position* as acknowledged; a no-op up to the checkpoint.

        Raises:
            UndeliveredAckError: *position* was not sent.
        """
        if position > self.sent:
            raise UndeliveredAckError(position, self.sent)
        self._in_flight.drop_up_to(position)
        self._is_wary = self._is_wary and position <= self._acknowledged
        self._acknowledged = max(self._acknowledged, position)
        if self._batch_size.is_reduced:
            self._batch_size.acknowledged(position)

    def take_back(self, after: int) -> None:
        """Move the events in flight after *after* back into the queue.

        Their batches were taken back from a subscriber that fetches them itself.
        """
        in_flight, queue = self._in_flight, self._queue
        self._batch_size.taken_back(after)
        if self._busy is not None:
            self._busy.taken_back(after)
        while in_flight.parcels and in_flight.parcels[-1].position > after:
            parcel = in_flight.parcels.pop()
            in_flight.bytes -= parcel.size
            queue.parcels.appendleft(parcel)
            queue.bytes += parcel.size

    def pause(self) -> None:
        """Give out no more batches; acknowledgements of events in flight still count."""
        self._paused = True

    def resume(self) -> None:
        """Go on after the last event sent."""
        self._paused = False

    def forget_queued(self) -> None:
        """Read again what was read and not sent."""
        assert not self._reading, "what is being read now would follow a hole"
        if self._queue.parcels:
            self._read = self._queue.parcels[0].before
            self._queue.clear()
            self._unread = True

    def redeliver(self) -> None:
        """Start again after the checkpoint; what is in flight is read again.

        Who handled it may have changed it. If nothing is in flight, what was not sent is kept.
        """
        assert not self._reading, "the events of the current read would follow a gap"
        self._batch_size.restart()
        if self._in_flight:
            self._read = self.checkpoint
            self._queue.clear()
            self._in_flight.clear()
            self._unread = True
            # Who gathers more than one batch before it acknowledges would wait for the next one.
            self._is_wary = not self._limits.gathers

    # ── private ──────────────────────────────────────────────────────────────────────────────

    def _advance(self, position: int) -> None:
        if position <= self._read:
            raise _already_read(position, self._read)
        self._read = position

    def _is_full(self) -> bool:
        limits, in_flight = self._limits, self._in_flight
        return (
            len(in_flight) >= limits.buffer_size
            or in_flight.bytes >= limits.buffer_bytes
            or bool(self._queue and not self._fits(self._queue.parcels[0]))
        )

    def _fits(self, parcel: Parcel) -> bool:
        in_flight = self._in_flight
        return not in_flight or in_flight.bytes + parcel.size <= self._limits.buffer_bytes


def _already_read(position: int, read: int) -> ValueError:
    return ValueError(f"position {position} was read after {read}")
