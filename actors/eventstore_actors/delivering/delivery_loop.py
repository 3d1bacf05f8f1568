"""Carries events from the storage to a subscriber: reads, sends, counts, delivers again."""

from __future__ import annotations

import time

from eventstore.model.errors import EventStoreError, StorageUnavailableError
from eventstore.model.log import get_logger
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.storage import Claimed, Progress
from eventstore_actors.delivering.delivery import Delivery, Limits, Parcel, UndeliveredAckError
from eventstore_actors.delivering.function_subscriber import Letter
from eventstore_actors.delivering.outlets import LIVENESS, Outlet
from eventstore_actors.delivering.progress import ProgressReporter
from eventstore_actors.delivering.reading import SubscriptionReader
from eventstore_actors.delivering.run_state import Failure, Run, Stage
from eventstore_actors.kernel.messages import Continue, Ref
from eventstore_actors.kernel.timer import Alarm
from eventstore_actors.state import subscription_errors as reasons
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat

__all__ = ["DeliveryLoop", "EndOfSubscription"]

READS_AT_ONCE = 2
"""A live event is found by the first, and the end by the second: it is live again at once."""

log = get_logger()


class EndOfSubscription(Exception):  # noqa: N818 - a signal to the actor, which ends itself
    """The subscription cannot go on, though nobody asked it to end."""

    def __init__(self, reason: EventStoreError) -> None:
        super().__init__(reason)
        self.reason = reason


class DeliveryLoop:
    """The effects around the `Delivery` of one subscription, run by run; used by its actor alone.

    Most methods may raise `EndOfSubscription`, or `HistoryRewoundError` when they read.
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
        self._reader = SubscriptionReader(context, handle.stream_id, seat.options)
        self._progress = ProgressReporter(handle, context.directory, subscription, alarm)
        self._failure: Failure | None = None
        self._continue_told = False
        self._sends = True
        self._log = log.bind(stream_id=handle.stream_id, subscription_name=handle.subscription_name)
        self.run: Run | None = None
        """None: the subscription is not ours."""

    # ── runs ─────────────────────────────────────────────────────────────────────────────────

    def start_run(self, claimed: Claimed, good_until: float) -> None:
        """Begin right after the stored checkpoint."""
        limits = Limits(
            batch_by=self._options.batch_by,
            max_batch_size=self._options.max_batch_size,
            buffer_size=self._options.buffer_size,
            buffer_bytes=self._options.buffer_bytes,
        )
        delivery = Delivery(claimed.checkpoint, claimed.head, limits)
        if claimed.paused:
            delivery.pause()
        number = self._seat.next_run()
        self.run = run = Run(number, claimed.fence, delivery, good_until, time.monotonic())
        self._reader.suspect()
        self._handle.run_started(number, claimed.checkpoint)
        self._outlet.renew(good_until)
        if not self._outlet.begin():
            self._subscriber_died()
        self._progress.tell(run, self._failure)
        self.go_on()

    def lose_run(self, reason: EventStoreError) -> None:
        """Stop counting; nothing of the run is ours any more."""
        self._log.warning("subscription lost", reason=str(reason))
        self.run = None
        self._seat.change_owner()
        self._handle.lost(reason)
        self._outlet.lost(reason)

    def renew(self, good_until: float) -> None:
        run = self.run
        if run is not None and good_until > run.good_until:
            run.good_until = good_until
            self._outlet.renew(good_until)

    def keep(self) -> None:
        """Tell the keeper, which may not know of it."""
        if self.run is not None:
            self._progress.tell(self.run, self._failure, urgent=True)

    def last_progress(self) -> Progress | None:
        """Return what is stored when the ownership is given up; None: there is none."""
        if self.run is None:
            return None
        return self.run.progress(SubscriptionState.STOPPED, self._failure)

    # ── delivering ───────────────────────────────────────────────────────────────────────────

    def go_on(self) -> None:
        """Send what may be sent; read on, a little per call, so that acknowledgements are heard."""
        run = self.run
        if run is None:
            return
        if self._sends:
            if run.is_held():
                self._deliver(run)
            else:
                self._hold_back(run)
        self._progress.show(run, self._failure)

    def announce(self, position: int | None) -> None:
        """There may be events up to *position*; None: how far is not known."""
        if self.run is not None:
            self.run.delivery.announce(position)
            self.go_on()

    def look_again(self) -> None:
        """Go on; where an announced event was not found, look for it again."""
        run = self.run
        if run is None:
            return
        timeout = self._options.ack_timeout
        if timeout is not None and run.is_overdue(timeout):
            raise EndOfSubscription(reasons.ack_overdue(self._handle, timeout))
        self.check_subscriber()
        if not run.delivery.caught_up:
            run.delivery.announce(None)
        self.go_on()

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
            # Sent, acknowledged in another thread, and taken back by a pause: it comes again.
            return
        self._progressed(run)
        self._look_whether_recovered(run)
        self.go_on()

    def pause(self) -> None:
        """Send nothing any more, and take back what no handler has in its hands yet."""
        if self.run is not None:
            self._hold_back(self.run)
            self.run.delivery.pause()
            self.keep()
            self.go_on()

    def resume(self) -> None:
        if self.run is not None:
            self.run.delivery.resume()
            self.keep()
            self.go_on()

    def stop_sending(self) -> None:
        """Wait for the acknowledgements of what is in flight, and do nothing else any more."""
        self._sends = False
        if self.run is not None:
            self._hold_back(self.run)

    def patience(self) -> float:
        """Return the most seconds until it should look around again, though nobody tells it to."""
        run = self.run
        if run is None or not run.delivery.caught_up or not self._progress.is_settled:
            return LIVENESS
        return self._outlet.patience

    def next_moment(self) -> float | None:
        """Return when something will be due that no message announces."""
        run = self.run
        if run is None:
            return None
        now = time.monotonic()
        moments = (run.read_at, run.good_until, run.overdue_at(self._options.ack_timeout))
        return min((m for m in moments if m is not None and m > now), default=None)

    def _deliver(self, run: Run) -> None:
        self._send(run)
        for _ in range(READS_AT_ONCE):
            if not self._read(run):
                return
            # The read may have taken longer than what was left of the lease.
            if run.is_held():
                self._send(run)
        if not self._continue_told:
            self._continue_told = True
            self._subscription.tell(Continue())

    def continue_told(self) -> None:
        """Go on, as this loop asked for itself."""
        self._continue_told = False
        self.go_on()

    def _send(self, run: Run) -> None:
        delivery = run.delivery
        nothing_was_in_flight = not delivery.in_flight
        letters = [self._letter(run, parcels) for parcels in iter(delivery.next_batch, [])]
        if not letters:
            return
        if nothing_was_in_flight:
            self._progressed(run)
        # Before it is told: whoever hears of it may acknowledge it.
        self._handle.sent(delivery.sent)
        if not self._outlet.send(letters):
            self._subscriber_died()

    def _letter(self, run: Run, parcels: list[Parcel]) -> Letter:
        events = [parcel.event for parcel in parcels]
        batch = Events(self._handle, events, parcels[-1].position)
        return Letter(run.number, batch, parcels[0].before)

    def _progressed(self, run: Run) -> None:
        run.progress_at = time.monotonic()
        if (overdue_at := run.overdue_at(self._options.ack_timeout)) is not None:
            self._alarm.at(overdue_at)

    def _hold_back(self, run: Run) -> None:
        after = self._outlet.take_back()
        if after is not None:
            run.delivery.take_back(after)
            self._handle.sent(run.delivery.sent)

    def _subscriber_died(self) -> None:
        raise EndOfSubscription(reasons.lost(self._handle, "stopped: its subscriber died"))

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def _read(self, run: Run) -> bool:
        """Read if there is need and room; False: there is not, or it found nothing."""
        wanted = run.delivery.begin_read() if run.may_read() else None
        if wanted is None:
            return False
        exhausted, failed = False, None
        try:
            events = self._reader.read(wanted)
            failed = self._reader.put_in(run.delivery, events)
            exhausted = not events
        except StorageUnavailableError as error:
            self._database_away(run, error)
            return False
        finally:
            run.delivery.end_read(exhausted=exhausted)
        run.away = False
        self._look_whether_recovered(run)
        if failed is not None:
            self._failed(run, failed, Stage.READING)
        return not exhausted

    def _database_away(self, run: Run, error: StorageUnavailableError) -> None:
        if not run.away:
            self._log.warning("cannot read on", error=repr(error))
        run.away = True
        self._rest(run, self._config.poll_interval / 2)

    def _rest(self, run: Run, delay: float) -> None:
        run.read_at = time.monotonic() + delay
        self._alarm.at(run.read_at)

    # ── failures of user code ────────────────────────────────────────────────────────────────

    def handler_failed(self, number: int, error: BaseException) -> None:
        run = self.run
        if run is None or run.number != number:
            return
        # What was sent behind the failed batch comes again after it, and with a new number: what
        # is still answered of this run does not count.
        self._outlet.take_back()
        run.delivery.redeliver()
        run.number = self._seat.next_run()
        self._handle.run_started(run.number, run.delivery.checkpoint)
        self._failed(run, error, Stage.HANDLER)
        self.go_on()

    def _failed(self, run: Run, error: BaseException, stage: Stage) -> None:
        self._failure = failure = Failure.of(error, stage, run.delivery, self._failure)
        self._handle.failed(error, failure.attempts)
        retry = self._options.on_error
        delay = retry.delay(failure.attempts)
        self._log.warning(
            "delivery failed", attempt=failure.attempts, again_in=delay, error=repr(error)
        )
        self._rest(run, delay)
        if retry.attempts is not None and failure.attempts >= retry.attempts:
            tried = f"stopped after {failure.attempts} attempts: {error!r}"
            raise EndOfSubscription(reasons.lost(self._handle, tried, error))

    def _look_whether_recovered(self, run: Run) -> None:
        if self._failure is not None and self._failure.is_over(run.delivery):
            self._failure = None
            self._handle.failed(None, 0)
