"""Moves events from the storage to a subscriber: the effects around `Delivery`.

Knows no lease protocol: it is told when the lease starts, is renewed and is lost.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from eventstore.model.caught_error import CaughtError
from eventstore.model.deliveries import DeliveryRun, give_receipts, with_receipt
from eventstore.model.errors import EventStoreError, StorageUnavailableError
from eventstore.model.events import RecordedEvent
from eventstore.model.log import get_logger
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.ownership import Claimed, Progress
from eventstore_actors.delivering.batch_size import BatchSize
from eventstore_actors.delivering.delivery import Delivery, Limits, Parcel, UndeliveredAckError
from eventstore_actors.delivering.failed_events import failed_batch
from eventstore_actors.delivering.function_subscriber import Letter
from eventstore_actors.delivering.outlets import GRACE, LIVENESS, Outlet
from eventstore_actors.delivering.progress import ProgressReporter
from eventstore_actors.delivering.reading import Filled, SubscriptionReader
from eventstore_actors.delivering.run_state import Failure, Run, Stage, traceback_field
from eventstore_actors.kernel.messages import Continue, Ref
from eventstore_actors.kernel.timer import Alarm
from eventstore_actors.state import subscription_errors as reasons
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat

__all__ = ["DeliveryLoop", "EndOfSubscription"]

READS_AT_ONCE = 2
"""Reads per turn: the first finds a live event, the second finds the end, so it is live again."""

log = get_logger()


class EndOfSubscription(Exception):  # noqa: N818 - a signal to the actor, which ends itself
    """The subscription has to end because of *reason*."""

    def __init__(self, reason: EventStoreError) -> None:
        super().__init__(reason)
        self.reason = reason


class DeliveryLoop:
    """Reads, sends and retries for one subscription, run by run; used by its actor alone.

    Most methods may raise `EndOfSubscription`; those that read also `HistoryRewoundError`.
    """

    def __init__(
        self,
        context: Context,
        seat: Seat,
        outlet: Outlet,
        subscription: Ref,
        alarm: Alarm,
    ) -> None:
        handle = seat.handle
        self._config = context.config
        self._seat = seat
        self._handle = handle
        self._options = seat.options
        self._outlet = outlet
        self._subscription = subscription
        self._alarm = alarm
        self._reader = SubscriptionReader(context, seat, subscription)
        self._progress = ProgressReporter(handle, context.directory, subscription, alarm)
        self._failure: Failure | None = None
        self._batch_size = BatchSize(seat.options.max_batch_size)
        self._continue_sent = False
        self._may_send = True
        self._log = log.bind(stream_id=handle.stream_id, subscription_name=handle.subscription_name)
        self.run: Run | None = None
        """The current delivery run; None while the subscription is not owned."""

    # ── runs ─────────────────────────────────────────────────────────────────────────────────

    def start_run(self, claimed: Claimed, good_until: float) -> None:
        """Start a run after the stored checkpoint."""
        limits = Limits(
            batch_by=self._options.batch_by,
            max_batch_size=self._options.max_batch_size,
            buffer_size=self._options.buffer_size,
            buffer_bytes=self._options.buffer_bytes,
        )
        delivery = Delivery(claimed.checkpoint, claimed.head, limits, self._batch_size)
        if claimed.paused:
            delivery.pause()
        number = self._seat.next_run()
        self.run = run = Run(
            number, claimed.subscription_id, claimed.fence, delivery, good_until, time.monotonic()
        )
        self._reader.check_history_first()
        self._handle.run_started(number, claimed.checkpoint)
        self._outlet.renew(good_until)
        if not self._outlet.begin():
            self._subscriber_died()
        self._progress.report(run, self._failure)
        self.go_on()

    def lose_run(self, reason: EventStoreError) -> None:
        """End the run: the lease is lost, and acknowledgements no longer count."""
        self._log.warning("subscription lost", reason=str(reason))
        self.run = None
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
            self._progress.report(self.run, self._failure, urgent=True)

    def last_progress(self, run: Run, reason: EventStoreError | None) -> Progress:
        """Return the progress to store with the release of the lease, with the *reason* if any."""
        last = run.progress(SubscriptionState.STOPPED, self._failure)
        if reason is None:
            return last
        failure = self._failure
        error = reasons.shown_for(reason, None if failure is None else failure.error)
        return replace(last, last_error=error.placed_text)

    # ── delivering ───────────────────────────────────────────────────────────────────────────

    def go_on(self) -> None:
        """Send and read a little, so that acknowledgements are handled in between."""
        run = self.run
        if run is None:
            return
        if self._may_send:
            if run.is_held():
                self._deliver(run)
            else:
                self._take_back(run)
        self._progress.show(run, self._failure)

    def continued(self) -> None:
        """Handle this loop's own `Continue`."""
        self._continue_sent = False
        self.go_on()

    def announce(self, position: int | None) -> None:
        """Note that there may be events up to *position*, which may be unknown, and go on."""
        if self.run is not None:
            if position is None:
                # The listener is new to the store: it may not know what was read here before.
                self._reader.check_history_first()
            self.run.delivery.announce(position)
            self.go_on()

    def look_again(self) -> None:
        """Check timeouts and the subscriber, read again for announced events, go on."""
        run = self.run
        if run is None:
            return
        timeout = self._options.ack_timeout
        if timeout is not None:
            self._check_overdue(run, timeout)
        self.check_subscriber()
        self._reader.preparing.check()
        self._reader.preparing.take(run.delivery)
        if not run.delivery.caught_up:
            run.delivery.announce(None)
        self.go_on()

    def _check_overdue(self, run: Run, timeout: float) -> None:
        if run.is_overdue(timeout):
            if not self._outlet.interrupt():
                raise EndOfSubscription(reasons.ack_overdue(self._handle, timeout))
            self._progressed(run)
        hung = self._reader.preparing.overdue(timeout)
        if hung is not None:
            reason = reasons.preparing_overdue(self._handle, hung.step, hung.position, timeout)
            raise EndOfSubscription(reason)

    def check_subscriber(self) -> None:
        if not self._outlet.is_alive():
            self._subscriber_died()

    def acknowledged(self, number: int, position: int) -> None:
        run = self.run
        if run is None or run.number != number:
            return
        try:
            run.delivery.acknowledge(position)
        except UndeliveredAckError:
            # A pause took the batch back while it was acknowledged: it will be redelivered.
            return
        self._progressed(run)
        self._check_recovery(run)
        self.go_on()

    def forget_unsent(self) -> None:
        """Read anew what was read and not sent: some of it was deleted."""
        if self.run is not None:
            self._take_back(self.run)
            self._reader.drop(self.run.delivery)
            self.run.delivery.forget_queued()
            self.go_on()

    def pause(self) -> None:
        """Stop sending, and take back the batches that no handler has started."""
        if self.run is not None:
            self._take_back(self.run)
            self.run.delivery.pause()
            self.report()
            self.go_on()

    def resume(self) -> None:
        if self.run is not None:
            self.run.delivery.resume()
            self.report()
            self.go_on()

    def stop_sending(self) -> None:
        """Stop sending for good; only acknowledgements of events in flight are handled."""
        self._may_send = False
        if self.run is not None:
            self._take_back(self.run)

    def close(self, deadline: float) -> str | None:
        """End the thread of selector and mapper.

        Returns:
            Which of them has not returned by *deadline*; None if it has ended.
        """
        return self._reader.preparing.close(max(deadline, time.monotonic() + GRACE))

    def check_interval(self) -> float:
        """Return the seconds after which `look_again` is due, even without a message."""
        run = self.run
        if run is None or not run.delivery.caught_up or not self._progress.is_reported:
            return LIVENESS
        return self._outlet.check_interval

    def next_moment(self) -> float | None:
        """Return the next moment at which something is due without a message, if any."""
        run = self.run
        if run is None:
            return None
        now, timeout = time.monotonic(), self._options.ack_timeout
        overdue = (run.overdue_at(timeout), self._reader.preparing.overdue_at(timeout))
        moments = (run.read_at, run.good_until, *overdue)
        return min((m for m in moments if m is not None and m > now), default=None)

    def _deliver(self, run: Run) -> None:
        self._send(run)
        for _ in range(READS_AT_ONCE):
            if not self._read(run):
                return
            # The lease may have expired during the read.
            if run.is_held():
                self._send(run)
        if not self._continue_sent:
            self._continue_sent = True
            self._subscription.tell(Continue())

    def _send(self, run: Run) -> None:
        delivery = run.delivery
        nothing_was_in_flight = not delivery.in_flight
        letters = [self._letter(run, parcels) for parcels in iter(delivery.next_batch, [])]
        if not letters:
            return
        if nothing_was_in_flight:
            self._progressed(run)
        # Before the outlet sends: the subscriber may acknowledge as soon as it has the batch.
        self._handle.sent(delivery.sent)
        if not self._outlet.send(letters):
            self._subscriber_died()

    def _letter(self, run: Run, parcels: list[Parcel]) -> Letter:
        events = [parcel.event for parcel in parcels]
        if self._options.mapper is None:
            give_receipts(events, self._handle.run)
        else:
            events = [_with_receipt(parcel, self._handle.run) for parcel in parcels]
        batch = Events(self._handle, events, parcels[-1].position, self._handle.run)
        return Letter(run.number, batch, parcels[0].before)

    def _progressed(self, run: Run) -> None:
        run.progress_at = time.monotonic()
        if (overdue_at := run.overdue_at(self._options.ack_timeout)) is not None:
            self._alarm.at(overdue_at)

    def _take_back(self, run: Run) -> None:
        after = self._outlet.take_back()
        if after is not None:
            run.delivery.take_back(after)
            self._handle.sent(run.delivery.sent)

    def _subscriber_died(self) -> None:
        raise EndOfSubscription(reasons.lost(self._handle, "stopped: its subscriber died"))

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def _read(self, run: Run) -> bool:
        """Make one read if it is due.

        Returns:
            False if none was due, if it found nothing, or if user code prepares what it found.
        """
        try:
            filled = self._reader.fill(run)
        except StorageUnavailableError as error:
            self._database_away(run, error)
            return False
        return self._filled(run, filled)

    def prepared(self) -> None:
        """Take over the page that user code has prepared, unless it is of an earlier run."""
        filled = self._reader.prepared(self.run)
        if self.run is not None:
            self._filled(self.run, filled)
        self.go_on()

    def _filled(self, run: Run, filled: Filled | None) -> bool:
        if filled is None:
            return False
        self._check_recovery(run)
        if filled.failure is not None:
            self._failed(run, filled.failure, Stage.READING)
        return filled.found

    def _database_away(self, run: Run, error: StorageUnavailableError) -> None:
        if not run.away:
            self._log.warning("read failed", error=repr(error))
        run.away = True
        self._read_again_in(run, self._config.poll_interval / 2)

    def _read_again_in(self, run: Run, delay: float) -> None:
        run.read_at = time.monotonic() + delay
        self._alarm.at(run.read_at)

    # ── failures of user code ────────────────────────────────────────────────────────────────

    def handler_failed(self, number: int, error: CaughtError, events: int) -> None:
        """Deliver a batch of *events* again, in smaller batches."""
        run = self.run
        if run is None or run.number != number:
            return
        where = failed_batch(run.delivery, events)
        self._batch_size.failed(events)
        # The batches after the failed one are redelivered after it. The new run number makes
        # acknowledgements of the old deliveries void.
        self._outlet.take_back()
        self._reader.drop(run.delivery)
        run.delivery.redeliver()
        run.number = self._seat.next_run()
        self._handle.run_started(run.number, run.delivery.checkpoint)
        self._failed(run, error.at(where), Stage.HANDLER)
        self.go_on()

    def _failed(self, run: Run, error: CaughtError, stage: Stage) -> None:
        before = self._failure
        self._failure = failure = Failure.of(error, stage, run.delivery, before)
        self._handle.failed(error, failure.attempts)
        retry = self._options.on_error
        delay = retry.delay(failure.attempts)
        self._log.warning(
            "delivery failed",
            attempt=failure.attempts,
            again_in=delay,
            where=error.where,
            error=error.text,
            **traceback_field(error, before),
        )
        self._read_again_in(run, delay)
        if retry.attempts is not None and failure.attempts >= retry.attempts:
            tried = f"stopped after {failure.attempts} attempts: {error.placed_text}"
            raise EndOfSubscription(reasons.lost(self._handle, tried, error.error))

    def _check_recovery(self, run: Run) -> None:
        if self._failure is not None and self._failure.is_over(run.delivery):
            self._failure = None
            self._handle.failed(None, 0)


def _with_receipt(parcel: Parcel, run: DeliveryRun) -> Any:
    """Return what a mapper made of an event; with a receipt, if it is an event."""
    # `isinstance` would ask an object of the user's for its class.
    if issubclass(type(parcel.event), RecordedEvent):
        return with_receipt(parcel.event, run, parcel.position)
    return parcel.event
