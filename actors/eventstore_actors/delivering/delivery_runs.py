"""The delivery runs of one subscription: their parts, their end, and what is due when."""

from __future__ import annotations

import time
from dataclasses import replace

from eventstore.model.errors import EventStoreError, StorageUnavailableError
from eventstore.model.log import get_logger
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.ownership import Progress
from eventstore_actors.delivering.batch_size import BatchSize
from eventstore_actors.delivering.caution import Caution
from eventstore_actors.delivering.delivery import Limits
from eventstore_actors.delivering.end_of_subscription import EndOfSubscription
from eventstore_actors.delivering.event_failures import Failures
from eventstore_actors.delivering.outlets import LIVENESS, Outlet
from eventstore_actors.delivering.parked_keys import ParkedKeys
from eventstore_actors.delivering.progress import ProgressReporter
from eventstore_actors.delivering.reading import SubscriptionReader
from eventstore_actors.delivering.replaying import Replaying
from eventstore_actors.delivering.run_state import Run
from eventstore_actors.kernel.messages import Ref
from eventstore_actors.kernel.timer import Alarm
from eventstore_actors.state import subscription_errors as reasons
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat

__all__ = ["DeliveryRuns"]

log = get_logger()


class DeliveryRuns:
    """The present run of a subscription, and what serves it; used by its actor alone."""

    def __init__(
        self,
        context: Context,
        seat: Seat,
        outlet: Outlet,
        subscription: Ref,
        alarm: Alarm,
    ) -> None:
        handle = seat.handle
        self._context = context
        self._config = context.config
        self._seat = seat
        self._handle = handle
        self._options = seat.options
        self._timeout = seat.options.ack_timeout
        self._outlet = outlet
        self._subscription = subscription
        self._alarm = alarm
        self._parked = ParkedKeys(context, seat)
        self._reader = SubscriptionReader(context, seat, self._parked, subscription)
        self._progress = ProgressReporter(handle, seat.options, context, subscription, alarm)
        self._batch_size = BatchSize(seat.options.max_batch_size)
        self._limits = replace(Limits.of(seat.options), gathers=seat.actor is not None)
        # What an actor has in its inbox cannot be taken back when an event before it is parked.
        keeps_order = seat.actor is not None and self._parked.keeps_order
        self._continue_sent = False
        self._may_send = True
        self._log = log.bind(stream_id=handle.stream_id, subscription_name=handle.subscription_name)
        self._failures = Failures(handle, seat.options, self._log)
        replayed = replace(self._limits, one_per_key=keeps_order)
        self._replaying = Replaying(self._parked, self._failures, replayed, self._batch_size)
        self._limits = replace(self._limits, one_per_key=keeps_order and self._failures.may_park)
        self._caution: Caution | None = None
        """It is not sure yet that the owner before did not die of an event."""
        self.run: Run | None = None
        """The current delivery run; None while the subscription is not owned."""

    def lose_run(self, reason: EventStoreError) -> None:
        """End the run: the lease is lost, and acknowledgements no longer count."""
        self._log.warning("subscription lost", reason=str(reason))
        self.run = None
        if self._caution is not None:
            self._caution.leave()
        self._reader.preparing.drop()
        self._seat.change_owner()
        self._handle.lost(reason)
        self._outlet.lost(reason)

    def renew(self, good_until: float) -> None:
        run = self.run
        if run is not None and good_until > run.good_until:
            run.good_until = good_until
            self._outlet.renew(good_until)

    def report(self) -> None:
        """Send the keeper the current progress, to be stored at once."""
        if self.run is not None:
            self._progress.report(self.run, self._failures.current, urgent=True)

    def last_progress(self, run: Run, reason: EventStoreError | None) -> Progress:
        """Return the progress to store with the release of the lease, with the *reason* if any."""
        checkpoint = run.fresh.checkpoint
        failure = self._failures.current
        last = run.progress(SubscriptionState.STOPPED, failure, checkpoint)
        if reason is None:
            return last
        error = reasons.shown_for(reason, None if failure is None else failure.error)
        return replace(last, last_error=error.full_text)

    def check_interval(self) -> float:
        """Return the seconds after which `look_again` is due, even without a message."""
        run = self.run
        if run is None or not run.delivery.caught_up or not self._progress.is_reported:
            return LIVENESS
        return min(self._outlet.check_interval, self._parked.check_interval)

    def next_moment(self) -> float | None:
        """Return the next moment at which something is due without a message, if any."""
        run = self.run
        if run is None:
            return None
        now, timeout = time.monotonic(), self._timeout
        overdue = (run.overdue_at(timeout), self._reader.preparing.overdue_at(timeout))
        moments = (run.read_at, run.good_until, *self._progress.due_at, *overdue)
        return min((m for m in moments if m is not None and m > now), default=None)

    def check_subscriber(self) -> None:
        if not self._outlet.is_alive():
            self._subscriber_died()

    def _progressed(self, run: Run) -> None:
        run.progress_at = time.monotonic()
        if (overdue_at := run.overdue_at(self._timeout)) is not None:
            self._alarm.at(overdue_at)

    def _take_back(self, run: Run) -> None:
        after = self._outlet.take_back()
        if after is not None:
            run.delivery.take_back(after)
            self._handle.sent(run.delivery.sent)

    def _withdraw(self, run: Run) -> None:
        """Withdraw everything in flight. It is delivered again, in a new run."""
        # The batches after the failed one are redelivered after it. The new run number makes
        # acknowledgements of the old deliveries void.
        self._take_back(run)
        self._reader.drop(run.delivery)
        run.delivery.redeliver()

    def _new_run(self, run: Run) -> None:
        run.number = self._seat.next_run()
        replayed = None if run.replay is None else run.delivery.checkpoint
        self._handle.run_started(run.number, run.fresh.checkpoint, replayed)
        if not self._outlet.begin():
            self._subscriber_died()

    def _subscriber_died(self) -> None:
        raise EndOfSubscription(reasons.lost(self._handle, "stopped: its subscriber died"))

    def _database_away(self, run: Run, error: StorageUnavailableError) -> None:
        if not run.away:
            self._log.warning("read failed", error=repr(error))
        run.away = True
        # Perhaps its newest commits are lost.
        self._parked.forget()
        self._read_again_in(run, self._config.poll_interval / 2)

    def _read_again_in(self, run: Run, delay: float) -> None:
        run.read_at = time.monotonic() + delay
        self._alarm.at(run.read_at)
