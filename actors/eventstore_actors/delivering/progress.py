"""Reports the progress of a run: to the handle at once, to the keeper coalesced."""

from __future__ import annotations

import math
import time

from eventstore.model.subscription import SubscriptionOptions, SubscriptionState
from eventstore.ports.ownership import Progress
from eventstore_actors.delivering.checkpoint_policy import CheckpointPolicy
from eventstore_actors.delivering.delivery import Delivery
from eventstore_actors.delivering.run_state import Failure, Run
from eventstore_actors.kernel.messages import Child, Keep, Ref
from eventstore_actors.kernel.timer import Alarm
from eventstore_actors.state.context import Context
from eventstore_actors.state.subscription_handle import SubscriptionHandle

__all__ = ["ProgressReporter"]

COALESCING = 0.05
"""Least seconds between two reports to the keeper."""

_BRIEF = {SubscriptionState.LIVE, SubscriptionState.CATCHING_UP, SubscriptionState.FULL}


class ProgressReporter:
    """The reporter of one subscription; used by its actor alone."""

    def __init__(
        self,
        handle: SubscriptionHandle,
        options: SubscriptionOptions,
        context: Context,
        subscription: Ref,
        alarm: Alarm,
    ) -> None:
        self._handle = handle
        self._directory = context.directory
        self._subscription = subscription
        self._alarm = alarm
        self._policy = CheckpointPolicy(options.checkpoint_after, options.checkpoint_threshold)
        self._passing = CheckpointPolicy(context.config.poll_interval, None)
        """Of a checkpoint that moved over what is not delivered, which may happen all the time."""
        self._reported: Progress | None = None
        self._reported_failure: Failure | None = None
        self._reported_at = 0.0
        self._differs_since = math.inf
        """When the state began to differ from the reported one, while that may be brief."""

    @property
    def is_reported(self) -> bool:
        """The last shown state was reported to the keeper."""
        return self._differs_since == math.inf

    @property
    def due_at(self) -> tuple[float, ...]:
        """When a checkpoint that is held back may be to report, on `time.monotonic`."""
        return self._policy.due_at, self._passing.due_at

    def show(self, run: Run, failure: Failure | None) -> None:
        """Publish the progress in the handle, and report changes to the keeper now or soon."""
        delivery = run.delivery
        state, checkpoint = run.state(failure), run.fresh.checkpoint
        behind = not (delivery.paused or delivery.caught_up)
        self._handle.progressed(state, checkpoint, delivery.in_flight, behind=behind)
        now = time.monotonic()
        checkpoint = self._storable(run.fresh, now)
        if self._keeper_knows(run, failure, checkpoint) and self._can_skip_report(state, now):
            return
        if now - self._reported_at >= COALESCING:
            self._report(run, failure, checkpoint)
        else:
            self._alarm.at(self._reported_at + COALESCING)

    def report(self, run: Run, failure: Failure | None, *, urgent: bool = False) -> None:
        """Report everything to the keeper, even if nothing changed."""
        self._report(run, failure, run.fresh.checkpoint, urgent=urgent)

    def _report(
        self, run: Run, failure: Failure | None, checkpoint: int, *, urgent: bool = False
    ) -> None:
        self._reported = run.progress(run.state(failure), failure, checkpoint)
        self._reported_failure = failure
        if checkpoint == run.fresh.checkpoint:
            self._policy.stored()
            self._passing.stored()
        self._reported_at = time.monotonic()
        self._differs_since = math.inf
        message = Keep(run.subscription_id, self._reported, self._subscription, urgent)
        self._directory.tell(Child.KEEPER, message)

    def _storable(self, delivery: Delivery, now: float) -> int:
        """Return the checkpoint, or the one reported last while it is held back."""
        assert self._reported is not None, "a run begins with a report"
        known, checkpoint = self._reported.checkpoint, delivery.checkpoint
        # In a pause nothing more is sent, so nothing more may come that would have it stored.
        held_back = not delivery.paused and self._holds_back(delivery, known, now)
        return known if held_back else checkpoint

    def _holds_back(self, delivery: Delivery, known: int, now: float) -> bool:
        moved = delivery.checkpoint - known
        is_passing = self._passing.holds_back(moved, now) and delivery.acknowledged <= known
        return self._policy.holds_back(moved, now) or is_passing

    def _keeper_knows(self, run: Run, failure: Failure | None, checkpoint: int) -> bool:
        """Return whether the keeper knows everything but the state."""
        reported = self._reported
        return (
            reported is not None
            and reported.checkpoint == checkpoint
            and reported.fence is run.fence
            and self._reported_failure is failure
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
