"""How far a run is: shown by the handle at once, told to the keeper behind it."""

from __future__ import annotations

import math
import time

from eventstore.model.subscription import SubscriptionState
from eventstore.ports.ownership import Progress
from eventstore_actors.delivering.run_state import Failure, Run
from eventstore_actors.kernel.messages import Child, Keep, Ref
from eventstore_actors.kernel.timer import Alarm
from eventstore_actors.state.context import Directory
from eventstore_actors.state.subscription_handle import SubscriptionHandle

__all__ = ["ProgressReporter"]

COALESCING = 0.05
"""Seconds within which the keeper is told of progress once."""

_PASSING = {SubscriptionState.LIVE, SubscriptionState.CATCHING_UP, SubscriptionState.FULL}


class ProgressReporter:
    """Reports for one subscription; used by its actor alone."""

    def __init__(
        self, handle: SubscriptionHandle, directory: Directory, subscription: Ref, alarm: Alarm
    ) -> None:
        self._handle = handle
        self._directory = directory
        self._subscription = subscription
        self._alarm = alarm
        self._told: Progress | None = None
        self._told_at = 0.0
        self._passing_since = math.inf
        """Since when its state has been another one than the keeper was told."""

    @property
    def is_settled(self) -> bool:
        """The keeper was told of the state that was shown last."""
        return self._passing_since == math.inf

    def show(self, run: Run, failure: Failure | None) -> None:
        """Report what changed: to the keeper now, or when it was not told for a moment."""
        delivery = run.delivery
        state, checkpoint = run.state(failure), delivery.checkpoint
        self._handle.progressed(state, checkpoint, delivery.in_flight)
        now = time.monotonic()
        if self._knows(run, failure, checkpoint) and self._may_leave_it_at_that(state, now):
            return
        if now - self._told_at >= COALESCING:
            self.tell(run, failure)
        else:
            self._alarm.at(self._told_at + COALESCING)

    def tell(self, run: Run, failure: Failure | None, *, urgent: bool = False) -> None:
        """Tell the keeper, whatever it knows already."""
        self._told = run.progress(run.state(failure), failure)
        self._told_at = time.monotonic()
        self._passing_since = math.inf
        self._directory.tell(
            Child.KEEPER, Keep(run.subscription_id, self._told, self._subscription, urgent)
        )

    def _knows(self, run: Run, failure: Failure | None, checkpoint: int) -> bool:
        """Tell whether the keeper knows everything but the state."""
        told = self._told
        return (
            told is not None
            and told.checkpoint == checkpoint
            and told.fence is run.fence
            and told.attempts == (0 if failure is None else failure.attempts)
        )

    def _may_leave_it_at_that(self, state: SubscriptionState, now: float) -> bool:
        """Tell whether the keeper knows the state, or it is likely to be over in a moment.

        Every live event makes its subscriptions catch up for that long. What lasts is told with
        the next acknowledgement, or when they look around regularly.
        """
        assert self._told is not None
        if state is self._told.state:
            self._passing_since = math.inf
            return True
        if {state, self._told.state} <= _PASSING:
            self._passing_since = min(self._passing_since, now)
            return now - self._passing_since < COALESCING
        return False
