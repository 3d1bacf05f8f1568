"""The failures of user code of one subscription: published, logged, and over again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eventstore.model.answers import FAILED, Verdict
from eventstore.model.caught_error import CaughtError
from eventstore.model.retry import LIMITED, GiveUp, Retry
from eventstore.model.subscription import SubscriptionOptions
from eventstore_actors.delivering.courses import (
    Course,
    Decision,
    Tries,
    decide,
    decide_alone,
    decide_dead,
)
from eventstore_actors.delivering.deadly_event import DeadlyEventError
from eventstore_actors.delivering.delivery import Delivery
from eventstore_actors.delivering.end_of_subscription import EndOfSubscription
from eventstore_actors.delivering.failed_events import failed_batch
from eventstore_actors.delivering.run_state import Failure, Run, Stage, traceback_field
from eventstore_actors.kernel.messages import HandlerFailed
from eventstore_actors.state import subscription_errors as reasons
from eventstore_actors.state.subscription_handle import SubscriptionHandle

__all__ = ["Failures"]

_DRAINING = 0.05
"""Seconds until an event that cannot be prepared is looked at again, while others are in flight."""


class Failures:
    """What the oldest event of a subscription has failed with; used by its actor alone."""

    def __init__(
        self, handle: SubscriptionHandle, options: SubscriptionOptions, logger: Any
    ) -> None:
        self._handle = handle
        self._retry = options.on_error
        self._log = logger
        self._tries_parked = replace(options.on_error, attempts=_attempts(options), then="park")
        self._last: dict[Stage, Failure] = {}
        """The last one of each stage, until delivery has got past it; the newest at the end.

        They are of different events: what cannot be prepared comes after what is in flight.
        """

    @property
    def current(self) -> Failure | None:
        """The newest failure, until delivery has got past it."""
        return next(reversed(self._last.values()), None)

    def of_batch(self, failed: HandlerFailed, error: CaughtError, run: Run) -> Decision:
        """Decide about the events of a batch that *run* still has in flight."""
        delivery = run.delivery
        events = delivery.in_flight_up_to(failed.last_position)
        answer, outage = failed.answer, self._retry.is_outage(error.error)
        if answer.position is not None and answer.position <= delivery.checkpoint:
            # What it names is acknowledged already, so nothing can become of it.
            answer = FAILED
        if self._handle.is_transactional and answer.position is not None:
            # What it did with the events before that one is rolled back: they come first.
            events = delivery.in_flight_up_to(answer.position)
            answer = replace(answer, position=None)
        if self._handle.is_transactional and answer.verdict is Verdict.PARK:
            # What is parked could not be delivered again in a transaction.
            answer = FAILED
        return decide(answer, events, self._tries(Stage.HANDLER), self._of(run), outage=outage)

    def of_reading(self, error: CaughtError, run: Run) -> Decision:
        """Decide about an event that could not be prepared."""
        outage = self._retry.is_outage(error.error)
        tries = self._tries(Stage.READING)
        decision = decide_alone(tries, self._of(run), outage=outage)
        if decision.course is Course.PARK and run.delivery.has_more:
            # What comes before it is delivered first, so that the checkpoint is at this event.
            return Decision(Course.AGAIN, tries, _DRAINING)
        return decision

    @property
    def are_limited(self) -> bool:
        """Whether a new event that fails alone is given up some time."""
        return self._retry.limit is not None

    @property
    def may_park(self) -> bool:
        """Whether a new event is parked when its attempts are used up."""
        return self._retry.then == GiveUp.PARK

    @property
    def tries(self) -> Tries:
        """The failures in a row of the oldest event, when it was alone with its handler."""
        return self._tries(Stage.HANDLER)

    def owners_died(self, times: int, run: Run) -> None:
        """Count the processes that died while they had the event alone that is in flight.

        Raises:
            DeadlyEventError: It has no attempts left.
        """
        what = f"its process died at attempt {times}, while it had this event alone"
        error = CaughtError.own(RuntimeError(what)).at(failed_batch(run.delivery, 1))
        decision = decide_dead(times, self._of(run))
        if decision.course is not Course.AGAIN:
            raise DeadlyEventError(decision, error)
        self._failed(decision, error, Stage.HANDLER, run.delivery)

    def carry_on(
        self,
        decision: Decision,
        error: CaughtError,
        stage: Stage,
        delivery: Delivery,
        reason: str = "",
    ) -> None:
        """Publish and log what was decided, once *delivery* is as it follows from that.

        Args:
            decision: What was decided.
            error: What user code raised.
            stage: Where it did.
            delivery: Where its progress is looked up.
            reason: What the handler gave as its reason; empty: it gave none.

        Raises:
            EndOfSubscription: That was decided.
        """
        match decision.course:
            case Course.SKIP:
                self.check_recovery(delivery)
                self._handle.skipped += 1
                self._log_event("event skipped", error, reason, decision)
            case Course.PARK:
                self.check_recovery(delivery)
                self._handle.parked += 1
                self._log_event("event parked", error, reason, decision)
            case Course.STOP:
                self._failed(decision, error, stage, delivery)
                tried = (
                    f"stopped after {decision.tries.used} attempts: {error.placed_text}"
                    if decision.used_up
                    else f"was stopped by its subscriber: {reason}"
                )
                raise EndOfSubscription(reasons.lost(self._handle, tried, error.error))
            case Course.AGAIN:
                self._failed(decision, error, stage, delivery)

    def check_recovery(self, delivery: Delivery) -> None:
        """Forget each failure once *delivery* has got past it."""
        left = {
            stage: failure for stage, failure in self._last.items() if not failure.is_over(delivery)
        }
        if len(left) < len(self._last):
            self._last = left
            self._show()

    def take(self, failure: Failure | None) -> Failure | None:
        """Go on with *failure* of another delivery. Return the last one of this."""
        before = self.current
        self._last = {} if failure is None else {failure.stage: failure}
        self._show()
        return before

    def _show(self) -> None:
        failure = self.current
        if failure is None:
            self._handle.failed(None, 0)
        else:
            self._handle.failed(failure.error, failure.attempts)

    def _of(self, run: Run) -> Retry:
        """Return how often to try: an event that is parked already has as many attempts again."""
        return self._retry if run.replay is None else self._tries_parked

    def _tries(self, stage: Stage) -> Tries:
        return self._last[stage].tries if stage in self._last else Tries()

    def _failed(
        self, decision: Decision, error: CaughtError, stage: Stage, delivery: Delivery
    ) -> None:
        before = self._last.pop(stage, None)
        self._last[stage] = Failure.of(error, decision.tries, stage, delivery)
        self._handle.failed(error, decision.tries.used)
        self._log.warning(
            "delivery failed",
            attempt=decision.tries.used,
            again_in=decision.delay,
            where=error.where,
            error=error.text,
            **traceback_field(error, before),
        )

    def _log_event(self, what: str, error: CaughtError, reason: str, decision: Decision) -> None:
        given = {"reason": reason} if reason else {"attempts": decision.tries.used}
        self._log.warning(what, where=error.where, error=error.text, **given)


def _attempts(options: SubscriptionOptions) -> int:
    return options.on_error.limit or LIMITED
