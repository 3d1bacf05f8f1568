"""Parks events, and changes between new events and parked ones that are delivered again."""

from __future__ import annotations

import time

from eventstore.ports.parking import ParkedPlace, Why
from eventstore_actors.delivering.batch_size import BatchSize
from eventstore_actors.delivering.delivery import Delivery, Limits
from eventstore_actors.delivering.event_failures import Failures
from eventstore_actors.delivering.parked_keys import ParkedKeys, place_of
from eventstore_actors.delivering.run_state import Replay, Run
from eventstore_actors.delivering.suspects import Suspects

__all__ = ["Replaying"]

COALESCING = 0.05
"""Seconds for which what was delivered again may stay parked."""

_UNANSWERED = Why("it was delivered again, and not acknowledged within a lease", None, 1)


class Replaying:
    """What a run delivers: new events, or the parked ones of one key after another.

    The parked events of a key are a delivery of their own, from the first to the last. Methods that
    ask the storage raise `StorageUnavailableError` if it cannot be reached.
    """

    def __init__(
        self, parked: ParkedKeys, failures: Failures, limits: Limits, batch_size: BatchSize
    ) -> None:
        self._parked = parked
        self._failures = failures
        self._limits = limits
        self._batch_size = batch_size
        self._suspects = Suspects()
        self._again: list[str] = []
        """Keys that were given up while the target was away."""

    def is_over(self, run: Run) -> bool:
        """Return whether what *run* delivers is to change.

        The parked events of a key are delivered, or those of one are to be. What was delivered is
        removed before.
        """
        while self._again:
            self._parked.mark(self._again[-1])
            self._again.pop()
        if not self._parked.is_known:
            self._parked.remove_delivered(run)
            self._parked.read(run)
        self.remove_delivered(run)
        if run.replay is None:
            return bool(self._parked.marked) and not run.delivery.paused
        if not run.delivery.caught_up or run.delivery.has_more:
            return False
        # No read finds what is left: the storage looks itself whether that was deleted.
        run.delivered[run.replay.key] = run.delivery.checkpoint
        run.ended.add(run.replay.key)
        if not self._parked.marked or run.fresh.paused:
            # Before new events of the keys.
            self._parked.remove_delivered(run)
        return True

    def leave(self, run: Run) -> bool:
        """Leave parked what an actor keeps for later, if others wait for it.

        Returns:
            Whether what *run* delivers is to change.
        """
        delivery, oldest = run.delivery, run.delivery.oldest_in_flight
        if run.replay is None or oldest is None or delivery.paused:
            return False
        if delivery.queued or not delivery.caught_up:
            return False
        if run.fresh.caught_up and not self._parked.marked:
            return False
        self.remove_delivered(run, at_once=True)
        return self._parked.keep(run, place_of(oldest), _UNANSWERED)

    def change(self, run: Run) -> None:
        """Go to the next key that is to be delivered again, or back to the new events.

        Nothing may be in flight.
        """
        before, fresh = run.replay, run.fresh
        if before is None:
            # One delivery at a time fills the memory that the options allow.
            fresh.forget_queued()
        last = self._failures.take(None)
        failure = last if before is None else before.failure
        if self._parked.marked and not fresh.paused:
            key = self._parked.marked.popleft()
            assert key.marked_up_to is not None
            run.replay = Replay(key.key, key.marked_up_to, fresh, failure)
            run.delivery = Delivery(0, 0, self._limits, self._batch_size)
        else:
            run.replay, run.delivery = None, fresh
            fresh.redeliver()
            self._failures.take(failure)

    def remove_delivered(self, run: Run, *, at_once: bool = False) -> None:
        """Remove the parked events that were delivered again and acknowledged.

        Not for each batch, unless *at_once*: after a crash, those of a moment are delivered again.
        """
        if run.replay is not None:
            _delivered(run, run.replay, run.delivery.checkpoint)
        if not run.delivered:
            return
        if at_once or time.monotonic() >= run.removed_at + COALESCING:
            self._parked.remove_delivered(run)

    def may_park(self, run: Run, event: ParkedPlace) -> bool:
        """Return whether an event that is given up may be parked; not while the target is away."""
        return run.replay is not None or self._suspects.may_park(event.key)

    def suspect(self, run: Run, event: ParkedPlace) -> None:
        """Note that an event was given up and parked: perhaps the target is away."""
        if run.replay is None:
            self._suspects.parked(event.key)

    def succeeded(self, run: Run) -> None:
        """Note that a new event was handled: the target works."""
        if run.replay is None:
            self._again += self._suspects.succeeded()

    def park(self, run: Run, event: ParkedPlace, why: Why) -> bool:
        """Park an event that failed; the key stays parked if it is one that was parked before.

        Returns:
            False if the subscription is no longer owned.

        Raises:
            EndOfSubscription: So many are parked that no other may be.
        """
        if run.replay is None:
            return self._parked.park(run, event, why)
        self.remove_delivered(run, at_once=True)
        return self._parked.keep(run, event, why)

    def skip(self, run: Run, event: ParkedPlace, reason: str) -> bool:
        """Record that an event is skipped that was parked before; there is no record of a new one.

        Returns:
            False if the subscription is no longer owned.
        """
        return run.replay is None or self._parked.skip(run, event.position, reason)


def _delivered(run: Run, replay: Replay, position: int) -> None:
    """Note that the events of *replay* were delivered up to *position*."""
    if position > replay.delivered:
        run.delivered[replay.key] = replay.delivered = position
