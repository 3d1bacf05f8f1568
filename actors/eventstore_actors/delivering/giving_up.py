"""What becomes of events that user code failed with: again, parked, skipped, or the end."""

from __future__ import annotations

from dataclasses import replace

from eventstore.model.caught_error import CaughtError
from eventstore.model.errors import StorageUnavailableError
from eventstore.ports.parking import ParkedPlace
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.delivering.courses import Course, Decision
from eventstore_actors.delivering.deadly_event import DeadlyEventError
from eventstore_actors.delivering.delivery_runs import DeliveryRuns
from eventstore_actors.delivering.parked_keys import place_of, why_of
from eventstore_actors.delivering.run_state import Run, Stage

__all__ = ["GivingUp"]

_GIVEN_UP = {Course.SKIP, Course.PARK}
"""Courses after which delivery goes on with the next event."""


class GivingUp(DeliveryRuns):
    """Does what was decided about events that failed; used by the actor of a subscription alone.

    Most methods may raise `EndOfSubscription`.
    """

    def _give_up(self, run: Run, dead: DeadlyEventError) -> None:
        """Do with the event in flight what follows from the deaths of its processes."""
        # Nothing is away for which it could be tried again: the processes died.
        decision = replace(dead.decision, used_up=dead.decision.course is Course.STOP)
        self._do(run, decision, dead.error, run.delivery.sent)

    def _do(
        self, run: Run, decision: Decision, error: CaughtError, last: int, reason: str = ""
    ) -> None:
        """Do what was decided about the events in flight up to *last*, and begin a new run."""
        oldest = run.delivery.oldest_in_flight
        if decision.course is Course.PARK and oldest is not None:
            decision = self._park(run, decision, place_of(oldest), error, reason)
        elif decision.course is Course.SKIP and oldest is not None:
            decision = self._skip(run, decision, place_of(oldest), reason or error.text)
        if decision.course in _GIVEN_UP:
            run.delivery.acknowledge(last)
        self._withdraw(run)
        self._carry_on(run, decision, error, Stage.HANDLER, reason)
        self._new_run(run)

    def _carry_on(
        self, run: Run, decision: Decision, error: CaughtError, stage: Stage, reason: str = ""
    ) -> None:
        self._failures.carry_on(decision, error, stage, run.delivery, reason)
        if decision.course is Course.PARK and run.replay is not None:
            self._replaying.change(run)
        self._read_again_in(run, decision.delay)

    def _park(
        self, run: Run, decision: Decision, event: ParkedPlace, error: CaughtError, reason: str
    ) -> Decision:
        """Park an event that is given up. Return what to do: try it again if that cannot be."""
        if decision.used_up and not self._replaying.may_park(run, event):
            delay = self._options.on_error.delay(decision.tries.in_a_row)
            return Decision(Course.AGAIN, decision.tries, delay)
        try:
            why = why_of(error, reason, decision.tries.used)
            if self._replaying.park(run, event, why):
                if decision.used_up:
                    self._replaying.suspect(run, event)
                return decision
        except StorageUnavailableError as unavailable:
            self._database_away(run, unavailable)
        return self._again(decision)

    def _skip(self, run: Run, decision: Decision, event: ParkedPlace, reason: str) -> Decision:
        """Record that a parked event is skipped. Return what to do, as `_park` does."""
        try:
            if self._replaying.skip(run, event, reason):
                return decision
        except StorageUnavailableError as unavailable:
            self._database_away(run, unavailable)
        return self._again(decision)

    def _again(self, decision: Decision) -> Decision:
        return Decision(Course.AGAIN, decision.tries, self._config.poll_interval / 2)

    def _reading_failed(self, run: Run, error: CaughtError, event: StoredEvent) -> None:
        decision = self._failures.of_reading(error, run)
        if decision.course is Course.PARK:
            # Nothing that could be away was asked: however many fail, it is the events.
            itself = replace(decision, used_up=False)
            decision = self._park(run, itself, place_of(event), error, "")
        if decision.course in _GIVEN_UP:
            run.delivery.pass_over(event.position)
        in_replay = run.replay
        self._carry_on(run, decision, error, Stage.READING)
        if run.replay is not in_replay:
            self._new_run(run)
