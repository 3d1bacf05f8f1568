"""Moves events from the storage to a subscriber: the effects around `Delivery`.

Knows no lease protocol: it is told when the lease starts, is renewed and is lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from eventstore.model.errors import StorageUnavailableError
from eventstore.ports.effects import Settlement
from eventstore.ports.ownership import Claimed
from eventstore_actors.delivering.caution import Caution
from eventstore_actors.delivering.deadly_event import DeadlyEventError
from eventstore_actors.delivering.delivery import Delivery
from eventstore_actors.delivering.end_of_subscription import EndOfSubscription
from eventstore_actors.delivering.failed_events import failed_batch
from eventstore_actors.delivering.giving_up import GivingUp
from eventstore_actors.delivering.letters import letter_of
from eventstore_actors.delivering.outlets import GRACE
from eventstore_actors.delivering.parcels import Parcel
from eventstore_actors.delivering.reading import Filled
from eventstore_actors.delivering.replaying import COALESCING
from eventstore_actors.delivering.run_state import Run
from eventstore_actors.delivering.undelivered_ack import UndeliveredAckError
from eventstore_actors.kernel.messages import Changed, Continue, Forget, HandlerFailed
from eventstore_actors.state import subscription_errors as reasons

__all__ = ["DeliveryLoop"]

READS_AT_ONCE = 2
"""Reads per turn: the first finds a live event, the second finds the end, so it is live again."""


class DeliveryLoop(GivingUp):
    """Reads, sends and retries for one subscription, run by run; used by its actor alone.

    Most methods may raise `EndOfSubscription`; those that read also `HistoryRewoundError`.
    """

    # ── runs ─────────────────────────────────────────────────────────────────────────────────

    def start_run(self, claimed: Claimed, good_until: float) -> None:
        """Start a run after the stored checkpoint."""
        self._parked.forget()
        delivery = Delivery(
            claimed.checkpoint, claimed.head, self._limits, self._batch_size, self._parked.held
        )
        if claimed.paused:
            delivery.pause()
        number = self._seat.next_run()
        self.run = run = Run(
            number, claimed.subscription_id, claimed.fence, delivery, good_until, time.monotonic()
        )
        if self._handle.is_transactional:
            run.least = claimed.checkpoint
        self._caution = (
            Caution(
                self._context,
                self._seat,
                self._failures,
                claimed,
                subscription=self._subscription,
                alarm=self._alarm,
            )
            if claimed.owner_died
            else None
        )
        self._reader.check_history_first()
        self._handle.owned(claimed.subscription_id, claimed.fence.epoch, claimed.checkpoint)
        self._handle.run_started(number, claimed.checkpoint)
        self._outlet.renew(good_until)
        if not self._outlet.begin():
            self._subscriber_died()
        self._progress.report(run, self._failures.current)
        self.go_on()

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
        self._progress.show(run, self._failures.current)

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
            self.run.fresh.announce(position)
            self.go_on()

    def stored_otherwise(self, message: Forget | Changed) -> None:
        """Look again at what somebody deleted, or may have changed."""
        if isinstance(message, Forget):
            self.forget_unsent()
        else:
            self.look_at_parked()

    def look_at_parked(self) -> None:
        """Look at the parked keys, and go on."""
        if self.run is not None and self._parked.touched():
            self.go_on()

    def look_again(self) -> None:
        """Check timeouts and the subscriber, read again for announced events, go on."""
        run = self.run
        if run is None:
            return
        timeout = self._timeout
        if timeout is not None:
            self._check_overdue(run, timeout)
        self.check_subscriber()
        self._reader.preparing.check()
        self._reader.preparing.take(run.delivery)
        self._parked.look_again()
        if run.away or not run.delivery.caught_up:
            # A read also proves that the database is back.
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

    def acknowledged(self, number: int, position: int) -> None:
        run = self.run
        if run is None or run.number != number:
            return
        try:
            run.delivery.acknowledge(position)
        except UndeliveredAckError:
            # A pause took the batch back while it was acknowledged: it will be redelivered.
            return
        if self._handle.is_transactional:
            run.least = position
        self._progressed(run)
        self._failures.check_recovery(run.delivery)
        self._replaying.succeeded(run)
        self._remove_delivered(run)
        self.go_on()

    def forget_unsent(self) -> None:
        """Read anew what was read and not sent: some of it was deleted."""
        if self.run is not None:
            self._take_back(self.run)
            self._reader.drop(self.run.delivery)
            self._parked.forget_ahead()
            self.run.delivery.forget_queued()
            self.run.fresh.forget_queued()
            self.go_on()

    def pause(self) -> None:
        """Stop sending, and take back the batches that no handler has started."""
        if self.run is not None:
            self._take_back(self.run)
            self.run.delivery.pause()
            self.run.fresh.pause()
            self.report()
            self.go_on()

    def resume(self) -> None:
        if self.run is not None:
            self.run.delivery.resume()
            self.run.fresh.resume()
            self.report()
            self.go_on()

    def stop_sending(self) -> None:
        """Stop sending for good; only acknowledgements of events in flight are handled."""
        self._may_send = False
        if self.run is not None:
            self._take_back(self.run)
            self._remove_delivered(self.run)

    def close(self, deadline: float) -> str | None:
        """End the thread of selector and mapper, and let others of the process go on.

        Returns:
            Which of them has not returned by *deadline*; None if it has ended.
        """
        if self._caution is not None:
            self._caution.leave()
        return self._reader.preparing.close(max(deadline, time.monotonic() + GRACE))

    def _deliver(self, run: Run) -> None:
        if not self._may_deliver(run):
            return
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

    def _may_deliver(self, run: Run) -> bool:
        """Go to the parked events of the next key, or back to new ones, if it is time for that.

        Returns:
            False if the database is away, or if events in flight are waited for before.
        """
        if run.away and not run.may_read():
            return False
        run.delivery.lets_go = self._waits_for_more(run)
        try:
            is_over = self._replaying.is_over(run) or (
                run.delivery.lets_go and self._replaying.leave(run)
            )
        except StorageUnavailableError as error:
            self._database_away(run, error)
            return False
        if is_over:
            self._take_back(run)
            if run.delivery.in_flight and not run.delivery.lets_go:
                return False
            self._withdraw(run)
            self._replaying.change(run)
            self._new_run(run)
        return True

    def _waits_for_more(self, run: Run) -> bool:
        """Return whether an actor holds events back that it may acknowledge with later ones.

        With an `ack_timeout` it does not: it would count as hung.
        """
        is_patient = self._seat.actor is not None and self._timeout is None
        return is_patient and run.is_overdue(self._config.lease)

    def _remove_delivered(self, run: Run) -> None:
        """Remove the parked events that are acknowledged; if that fails, it is tried again."""
        try:
            self._replaying.remove_delivered(run, at_once=not self._may_send)
        except StorageUnavailableError as error:
            self._database_away(run, error)
        if run.delivered:
            self._alarm.at(run.removed_at + COALESCING)

    def _send(self, run: Run) -> None:
        """Send what may be sent, and park what comes after a parked event of its stream."""
        self._send_batches(run)
        while run.replay is None and self._park_followers(run):
            self._send_batches(run)

    def _park_followers(self, run: Run) -> bool:
        parcels = run.delivery.held_up()
        if not parcels or (run.away and not run.may_read()):
            return False
        try:
            is_parked = self._parked.park_followers(run, parcels)
        except StorageUnavailableError as error:
            self._database_away(run, error)
            return False
        if is_parked:
            run.delivery.drop_queued(parcels[-1].position)
        return is_parked

    def _send_batches(self, run: Run) -> None:
        delivery = run.delivery
        nothing_was_in_flight = not delivery.in_flight
        mapped = self._options.mapper is not None
        letters = [
            letter_of(self._handle, run, parcels, mapped=mapped) for parcels in self._batches(run)
        ]
        if not letters:
            return
        if nothing_was_in_flight:
            self._progressed(run)
        # Before the outlet sends: the subscriber may acknowledge as soon as it has the batch.
        self._handle.sent(delivery.sent)
        if not self._outlet.send(letters):
            self._subscriber_died()

    def _batches(self, run: Run) -> Iterable[list[Parcel]]:
        """Put the events in flight that may be sent."""
        caution = self._caution
        if caution is None:
            return iter(run.delivery.next_batch, [])
        try:
            if caution.is_over(run):
                self._caution = None
                return iter(run.delivery.next_batch, [])
        except StorageUnavailableError as error:
            self._database_away(run, error)
            return []
        return self._careful_batches(run, caution)

    def _careful_batches(self, run: Run, caution: Caution) -> Iterator[list[Parcel]]:
        try:
            while batch := caution.next_batch(run):
                yield batch
        except StorageUnavailableError as error:
            self._database_away(run, error)
        except DeadlyEventError as dead:
            self._give_up(run, dead)

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
        self._failures.check_recovery(run.delivery)
        if filled.failure is not None:
            assert filled.failed is not None
            self._reading_failed(run, filled.failure, filled.failed)
        return filled.found

    # ── failures of user code ────────────────────────────────────────────────────────────────

    def handler_failed(self, failed: HandlerFailed) -> None:
        """Do with the events of a batch what its handler said, or what follows from its error."""
        run = self.run
        if run is None or run.number != failed.run:
            return
        delivery, answer = run.delivery, failed.answer
        if answer.position is not None and not self._handle.is_transactional:
            delivery.acknowledge(answer.position - 1)
            self._failures.check_recovery(delivery)
        error = failed.error.at(failed_batch(delivery, failed.events))
        decision = self._failures.of_batch(failed, error, run)
        if decision.shrinks:
            self._batch_size.failed(failed.events)
        self._do(run, decision, error, answer.position or failed.last_position, answer.reason)
        self.go_on()

    def unsettled(self, number: int, how: Settlement) -> bool:
        """Go on after a batch that was not handled; return whether the lease is lost instead."""
        run = self.run
        if run is None or run.number != number:
            return False
        if how is Settlement.ENDED:
            raise EndOfSubscription(reasons.transaction_ended(self._handle))
        if how is Settlement.PARTLY:
            self._withdraw(run)
            self._new_run(run)
            self.go_on()
        return how is Settlement.FENCED
