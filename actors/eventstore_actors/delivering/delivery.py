"""The decisions of one delivery run: what to read, what to send, where the checkpoint is.

Pure: no actor, no thread, no clock, no storage. The caller reads as `begin_read` says, puts in
the events it found, sends the batches of `next_batch` and reports the acknowledgements.

Positions have gaps, left by deleted and by filtered events. So no position is computed by
addition: each event carries the position that was read before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from eventstore.model.subscription import BatchBy, SubscriptionState
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.delivering.batch_size import BatchSize

__all__ = ["Delivery", "Limits", "Parcel", "Read", "UndeliveredAckError"]


class UndeliveredAckError(Exception):
    """The acknowledged position was not sent in this run; nothing changed."""

    def __init__(self, position: int, sent: int) -> None:
        super().__init__(f"position {position} was not sent, the highest sent is {sent}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on the events in flight and on a batch."""

    batch_by: BatchBy
    max_batch_size: int
    buffer_size: int
    """Most events in flight, and most events read ahead."""
    buffer_bytes: int
    """Most bytes in flight, and most bytes read ahead. A larger event is sent alone."""


class Parcel(msgspec.Struct, frozen=True, gc=False):
    """An event on its way to the subscriber. It takes part in no reference cycle, hence no GC."""

    position: int
    before: int
    """The position read before it: the checkpoint while this is the oldest unacknowledged event."""
    stream_id: str
    size: int
    event: Any


@dataclass(frozen=True, slots=True)
class Read:
    """A request to read events of the subscribed stream or ``$all``."""

    after: int
    """Position after which to read."""
    count: int
    """Most events."""
    max_bytes: int
    """Most bytes together; the first event is read whatever its size."""


class _ParcelQueue:
    """Parcels in order, with the sum of their bytes."""

    __slots__ = ("bytes", "parcels")

    def __init__(self) -> None:
        self.parcels: deque[Parcel] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.parcels)

    def append(self, parcel: Parcel) -> None:
        self.parcels.append(parcel)
        self.bytes += parcel.size

    def extend(self, parcels: Sequence[Parcel], size: int) -> None:
        self.parcels.extend(parcels)
        self.bytes += size

    def drop_up_to(self, position: int) -> None:
        parcels = self.parcels
        while parcels and parcels[0].position <= position:
            self.bytes -= parcels.popleft().size

    def clear(self) -> None:
        self.parcels.clear()
        self.bytes = 0


class Delivery:
    """A delivery run that starts at a checkpoint. Operations are O(1) amortised per event."""

    def __init__(
        self, checkpoint: int, head: int, limits: Limits, batch_size: BatchSize | None = None
    ) -> None:
        """Start a run.

        Args:
            checkpoint: Position after which to start.
            head: Position up to which events may exist.
            limits: They hold for the whole run.
            batch_size: The limit of a batch, which failures reduce. Defaults to a new one.
        """
        self._limits = limits
        self._batch_size = batch_size or BatchSize(limits.max_batch_size)
        self._batch_size.restart()
        self._queue = _ParcelQueue()
        self._in_flight = _ParcelQueue()
        self._read = checkpoint
        """Every event up to it was put in or filtered out."""
        self._head = head
        """The highest position announced."""
        self._unread = True
        """There may be events that no read has covered."""
        self._reading = False
        self._paused = False

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
    def oldest_in_flight(self) -> Parcel | None:
        in_flight = self._in_flight.parcels
        return in_flight[0] if in_flight else None

    @property
    def read_up_to(self) -> int:
        """The position up to which every event was put in or filtered out."""
        return self._read

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
            self._unread = True
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
        self._reading = True
        self._unread = False
        return Read(
            self._read,
            limits.buffer_size - len(queue),
            max(1, limits.buffer_bytes - queue.bytes),
        )

    def put_in(self, position: int, stream_id: str, size: int, event: Any) -> None:
        """Queue an event that was read."""
        self._queue.append(Parcel(position, self._read, stream_id, size, event))
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
                parcels.append(Parcel(position, read, stored.stream_id, size, deliverable(stored)))
                read = position
                total += size
        finally:
            self._queue.extend(parcels, total)
            self._read = read

    def pass_over(self, position: int) -> None:
        """Filter out an event that was read; it needs no acknowledgement of its own."""
        self._advance(position)

    def end_read(self, *, exhausted: bool) -> None:
        """End the read that `begin_read` began.

        Args:
            exhausted: The read found no event. False if it failed, or if some of its events were
                not put in: they are read again.
        """
        self._reading = False
        if not exhausted:
            self._unread = True

    # ── sending ──────────────────────────────────────────────────────────────────────────────

    def next_batch(self) -> list[Parcel]:
        """Move the events of the next batch from the queue into flight.

        Returns:
            The batch to send; empty if nothing may be sent.
        """
        queue, in_flight, batch_size = self._queue, self._in_flight, self._batch_size
        batch: list[Parcel] = []
        if self._paused or not queue.parcels:
            return batch
        if batch_size.is_reduced and not batch_size.may_send:
            return batch
        limits = self._limits
        most = min(batch_size.limit, limits.buffer_size - len(in_flight.parcels))
        room = limits.buffer_bytes - in_flight.bytes
        waiting, is_alone = queue.parcels, not in_flight.parcels
        only = waiting[0].stream_id if limits.batch_by is BatchBy.STREAM else None
        size = 0
        while waiting and len(batch) < most:
            parcel = waiting[0]
            if only is not None and parcel.stream_id != only:
                break
            if size + parcel.size > room and not (is_alone and not batch):
                break
            size += parcel.size
            batch.append(waiting.popleft())
        queue.bytes -= size
        in_flight.extend(batch, size)
        if batch and batch_size.is_reduced:
            batch_size.sent(batch[-1].position)
        return batch

    def acknowledge(self, position: int) -> None:
        """Take every event up to *position* as acknowledged; a no-op up to the checkpoint.

        Raises:
            UndeliveredAckError: *position* was not sent.
        """
        if position > self.sent:
            raise UndeliveredAckError(position, self.sent)
        self._in_flight.drop_up_to(position)
        if self._batch_size.is_reduced:
            self._batch_size.acknowledged(position)

    def take_back(self, after: int) -> None:
        """Move the events in flight after *after* back into the queue.

        Their batches were taken back from a subscriber that fetches them itself.
        """
        in_flight, queue = self._in_flight, self._queue
        self._batch_size.taken_back(after)
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
        """Start again after the checkpoint; all unacknowledged events are read again."""
        assert not self._reading, "the events of the current read would follow a gap"
        self._read = self.checkpoint
        self._queue.clear()
        self._in_flight.clear()
        self._batch_size.restart()
        self._unread = True

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
