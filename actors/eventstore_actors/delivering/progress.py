"""Reports the progress of a run: to the handle at once, to the keeper coalesced."""

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
"""Least seconds between two reports to the keeper."""

_BRIEF = {SubscriptionState.LIVE, SubscriptionState.CATCHING_UP, SubscriptionState.FULL}


class ProgressReporter:
    """The reporter of one subscription; used by its actor alone."""

    def __init__(
        self, handle: SubscriptionHandle, directory: Directory, subscription: Ref, alarm: Alarm
    ) -> None:
        self._handle = handle
        self._directory = directory
        self._subscription = subscription
        self._alarm = alarm
        self._reported: Progress | None = None
        self._reported_at = 0.0
        self._differs_since = math.inf
        """When the state began to differ from the reported one, while that may be brief."""

    @property
    def is_reported(self) -> bool:
        """The last shown state was reported to the keeper."""
        return self._differs_since == math.inf

    def show(self, run: Run, failure: Failure | None) -> None:
        """Publish the progress in the handle, and report changes to the keeper now or soon."""
        delivery = run.delivery
        state, checkpoint = run.state(failure), delivery.checkpoint
        behind = not (delivery.paused or delivery.caught_up)
        self._handle.progressed(state, checkpoint, delivery.in_flight, behind=behind)
        now = time.monotonic()
        if self._keeper_knows(run, failure, checkpoint) and self._can_skip_report(state, now):
            return
        if now - self._reported_at >= COALESCING:
            self.report(run, failure)
        else:
            self._alarm.at(self._reported_at + COALESCING)

    def report(self, run: Run, failure: Failure | None, *, urgent: bool = False) -> None:
        """Report to the keeper, even if nothing changed."""
        self._reported = run.progress(run.state(failure), failure)
        self._reported_at = time.monotonic()
        self._differs_since = math.inf
        message = Keep(run.subscription_id, self._reported, self._subscription, urgent)
        self._directory.tell(Child.KEEPER, message)

    def _keeper_knows(self, run: Run, failure: Failure | None, checkpoint: int) -> bool:
        """Return whether the keeper knows everything but the state."""
        reported = self._reported
        return (
            reported is not None
            and reported.checkpoint == checkpoint
            and reported.fence is run.fence
            and reported.attempts == (0 if failure is None else failure.attempts)
        )

    def _can_skip_report(self, state: SubscriptionState, now: float) -> bool:
        """Return whether the keeper knows the state, or the new state is likely to be brief.

        Every live event makes its subscriptions catch up for a moment. A state that lasts is
        reported with the next acknowledgement, or at the next regular check.
        """
        assert self._reported is not None
        if state is self._reported.state:
            self._differs_since = math.inf
            return True
        if {state, self._reported.state} <= _BRIEF:
            self._differs_since = min(self._differs_since, now)
            return now - self._differs_since < COALESCING
        return False
