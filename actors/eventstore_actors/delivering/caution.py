"""Hands out events alone after an owner that died: one of them may kill its process."""

from __future__ import annotations

import time

from eventstore.ports.ownership import Claimed, Tried
from eventstore_actors.delivering.event_failures import Failures
from eventstore_actors.delivering.parcels import Parcel
from eventstore_actors.delivering.run_state import Run
from eventstore_actors.kernel.lane import LANE
from eventstore_actors.kernel.messages import Ref
from eventstore_actors.kernel.timer import Alarm
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat

__all__ = ["Caution"]


class Caution:
    """What an owner hands out until it is past what a dead one may have had; for its actor alone.

    At first each event is alone in flight, and its attempt is stored before: as many events as may
    have been in flight after the stored checkpoint. Then, up to the head at the claim, no more than
    so many are handed out before the checkpoint is stored again. So if its process dies of one of
    them, it is among the first events of the next owner.

    Without `Retry.attempts` this is so for parked events alone, which are delivered again.
    """

    def __init__(
        self,
        context: Context,
        seat: Seat,
        failures: Failures,
        claimed: Claimed,
        *,
        subscription: Ref,
        alarm: Alarm,
    ) -> None:
        self._storage = context.storage
        self._config = context.config
        self._turn = context.lone_turn
        self._subscription = subscription
        self._alarm = alarm
        self._failures = failures
        self._is_actor = seat.actor is not None
        self._most = seat.options.buffer_size
        self._alone = self._most
        """Events that are still to be handed out alone."""
        self._room = 0
        """Events that may be handed out after them before the checkpoint is stored."""
        self._until = claimed.head if failures.are_limited else 0
        self._found = claimed.tried
        """The event that was alone in flight when an owner died, until it comes again."""
        self._noted = claimed.tried
        """What the row says."""
        self._has_turn = False
        self._let_go = False
        """Its actor gets more events, though one that is noted is not acknowledged."""

    def is_over(self, run: Run) -> bool:
        """Return whether nothing can come that a dead owner had.

        Raises:
            StorageUnavailableError: It is not known to be so.
        """
        delivery, noted = run.delivery, self._noted
        is_past = run.replay is None and not delivery.paused and delivery.checkpoint >= self._until
        # While the event that is noted is the oldest in flight, its actor may yet die of it.
        is_settled = noted is None or delivery.checkpoint >= noted.position
        if delivery.in_flight:
            # An actor that lives with its event for so long waits for more of them.
            if self._is_actor and run.is_overdue(self._config.lease):
                self._let_go = True
            is_past = (is_past or self._let_go) and is_settled
        elif self._let_go:
            is_past = is_past or is_settled
            self._let_go = False
        if not is_past or (noted is not None and not self._note(run, None)):
            return False
        self.leave()
        return True

    def leave(self) -> None:
        """Let others of the process have an event alone in flight."""
        self._turn.leave(self._subscription)
        self._has_turn = False

    def next_batch(self, run: Run) -> list[Parcel]:
        """Put the next batch in flight, once its attempt is stored.

        Returns:
            The batch; empty: there is none yet.

        Raises:
            DeadlyEventError: Too many owners died of the event in flight; do not hand it out.
            StorageUnavailableError: Nothing was put in flight.
        """
        delivery = run.delivery
        if delivery.paused:
            return []
        if self._let_go:
            return delivery.next_batch()
        if delivery.in_flight and (run.replay is not None or self._noted is not None):
            return []
        if self._has_turn:
            self.leave()
        if run.replay is None and self._alone <= 0:
            return self._next_of_many(run)
        return self._next_alone(run) if self._take_turn(run) else []

    def _next_alone(self, run: Run) -> list[Parcel]:
        """Put one event in flight; a batch after so many of them, if they were parked."""
        delivery = run.delivery
        batch = delivery.next_batch(1) if self._alone > 0 else delivery.next_batch()
        if not batch:
            self.leave()
            self._rest(run)
            return []
        self._has_turn = True
        found, position = self._found, batch[0].position
        if found is not None and position == found.position:
            self._found = None
            self._failures.owners_died(found.tries, run)
        used = self._failures.tries.used
        tried = Tried(position, used + 1) if len(batch) == 1 else None
        try:
            is_noted = tried == self._noted or self._note(run, tried)
        except BaseException:
            delivery.take_back(batch[0].before)
            raise
        # That may have taken longer than the lease lasts.
        if not is_noted or not run.is_held():
            delivery.take_back(batch[0].before)
            return []
        self._alone -= len(batch)
        return batch

    def _next_of_many(self, run: Run) -> list[Parcel]:
        """Put the next batch in flight, beside others.

        Once half of the room is used up, the checkpoint is stored: not for each batch.
        """
        delivery = run.delivery
        if not delivery.queued:
            return []
        if 2 * self._room < self._most:
            if 2 * delivery.in_flight > self._most or not self._note(run, None):
                return []
            self._room = self._most - delivery.in_flight
            if not run.is_held():
                return []
        batch = delivery.next_batch(self._room)
        self._room -= len(batch)
        return batch

    def _take_turn(self, run: Run) -> bool:
        if not run.delivery.queued:
            return True
        again_at = self._turn.take(self._subscription, self._config.lease)
        if again_at is not None:
            self._alarm.at(again_at)
        return again_at is None

    def _rest(self, run: Run) -> None:
        """Nothing is in flight: a process that dies now dies of no event."""
        if self._found is None and self._noted is not None:
            used = self._failures.tries.used
            tried = Tried(self._noted.position, used) if used else None
            if tried != self._noted:
                self._note(run, tried)

    def _note(self, run: Run, tried: Tried | None) -> bool:
        """Store what is tried, and the checkpoint before it. Return False if it is not owned."""
        LANE.leave()
        deadline = time.monotonic() + self._config.connect_timeout
        checkpoint = run.fresh.checkpoint
        noted = self._storage.note_tries(run.fence, checkpoint, run.least, tried, deadline)
        if noted:
            self._noted = tried
        return noted
