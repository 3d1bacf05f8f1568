"""The actor of one named subscription: its life cycle, its lease, its messages."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any, assert_never

import pykka

from eventstore.model.checks import shown
from eventstore.model.errors import (
    EventStoreError,
    HistoryRewoundError,
    StorageUnavailableError,
    SubscriptionNotFoundError,
    SubscriptionOptionsError,
)
from eventstore.model.subscription import Subscription, WhenOwned
from eventstore.ports.ownership import Claimed, Held, Standing
from eventstore_actors.delivering.closing import close_user_code
from eventstore_actors.delivering.delivery_loop import DeliveryLoop
from eventstore_actors.delivering.end_of_subscription import EndOfSubscription
from eventstore_actors.delivering.outlets import LIVENESS, Outlet, outlet_for
from eventstore_actors.delivering.preparing import Prepared
from eventstore_actors.delivering.unsettled import Unsettled
from eventstore_actors.kernel.actor import SupervisedActor, answer, is_answered, refuse, try_tell
from eventstore_actors.kernel.lane import LANE
from eventstore_actors.kernel.messages import (
    Acknowledge,
    Changed,
    Child,
    ChildRestarted,
    Continue,
    Forget,
    HandlerFailed,
    HeadMoved,
    HistoryRewound,
    Release,
    Renewed,
    SeatKept,
    SeatWanted,
    Seen,
    SetPaused,
    StandBy,
    SubscriberEnded,
    Tick,
    Unwatch,
    Watch,
)
from eventstore_actors.kernel.timer import Alarm
from eventstore_actors.owning.claim import Claimant
from eventstore_actors.state import subscription_errors as reasons
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat

__all__ = ["SubscriptionActor"]

Reply = pykka.ThreadingFuture[Subscription]

_RELEASE_GRACE = 1.0
"""Seconds beyond its deadline to wait for a release; the keeper completes it in any case."""


class SubscriptionActor(SupervisedActor):
    """Claims the subscription, and runs a `DeliveryLoop` while it holds the lease.

    Without a run it is a standby: another owner holds the lease, or the database is unreachable.
    """

    is_one_of_many = True

    def __init__(self, context: Context, seat: Seat, reply: Reply | None) -> None:
        handle = seat.handle
        super().__init__(f"subscription {handle.subscription_name}", context.supervisor)
        self._shared = context
        self._config = context.config
        self._seat = seat
        self._handle = handle
        self._options = seat.options
        self._reply = reply
        self._alarm = Alarm(context.timer, self.actor_ref, Tick())
        self._claimant = Claimant(context, seat)
        self._paused_at = 0.0
        self._stop_at: float | None = None
        self._reason: EventStoreError | None = None
        self._outlet: Outlet | None = None
        self._loop: DeliveryLoop

    # ── life cycle ───────────────────────────────────────────────────────────────────────────

    def setup(self) -> None:
        self._handle.connect(self.actor_ref)
        self._outlet = outlet_for(self._seat, self._shared, self.actor_ref, f"{self.role} handler")
        self._loop = DeliveryLoop(
            self._shared, self._seat, self._outlet, self.actor_ref, self._alarm
        )
        # Watch before the first read, so that no event is missed between the two.
        self._watch()
        try:
            self._claim()
        except (EndOfSubscription, HistoryRewoundError) as end:
            self._end_because(end)
        self._set_alarm()

    def receive(self, message: Any) -> None:
        try:
            self._handle_message(message)
        except (EndOfSubscription, HistoryRewoundError) as end:
            self._end_because(end)
        self._set_alarm()

    def _handle_message(self, message: Any) -> None:
        loop = self._loop
        match message:
            case Acknowledge():
                loop.acknowledged(*self._handle.newest_ack(message))
                self._end_if_done()
            case HeadMoved(position):
                loop.announce(position)
            case Continue():
                loop.continued()
            case Renewed() | Seen() | SeatWanted():
                self._check_ownership(message)
            case Tick():
                self._alarm_ticked()
            case Prepared() | HandlerFailed() | Unsettled() | SubscriberEnded():
                self._user_code_reported(message)
            case SetPaused(paused, reply):
                self._set_paused(paused=paused, reply=reply)
            case Forget() | Changed():
                loop.stored_otherwise(message)
            case ChildRestarted(child):
                self._child_restarted(child)
            case _:
                raise TypeError(f"unexpected message: {shown(message)}")

    def _user_code_reported(
        self, message: Prepared | HandlerFailed | Unsettled | SubscriberEnded
    ) -> None:
        match message:
            case Prepared():
                self._loop.prepared()
            case HandlerFailed():
                self._loop.handler_failed(message)
                self._end_if_done()
            case Unsettled(run, how):
                if self._loop.unsettled(run, how):
                    self._fenced()
                self._end_if_done()
            case SubscriberEnded(None) if self._stop_at is None:
                self._loop.check_subscriber()
            case SubscriberEnded(crash) if crash is not None:
                raise crash  # a restart gives the function a new actor

    def stopping(self, deadline: float) -> None:
        """Stop sending, and wait for the acknowledgements of events in flight."""
        assert self._outlet is not None
        # Told again, it is to end sooner.
        stop_at = math.inf if self._stop_at is None else self._stop_at
        self._stop_at = min(stop_at, max(deadline, time.monotonic() + self._outlet.grace))
        if isinstance(self.stop_reason, EventStoreError):
            self._reason = self.stop_reason
        self._loop.stop_sending()
        self._end_if_done()

    def teardown(self, error: BaseException | None) -> None:
        LANE.leave()
        directory = self._shared.directory
        directory.tell(Child.PUBLISHER, Unwatch(self._handle.stream_id, self.actor_ref))
        reason = self._reason or reasons.lost(self._handle, "was closed")
        if self._reply is not None:
            refuse(self._reply, error or reason)
        if error is None:
            self._release()
            self._handle.stopped(self._reason)
        else:
            reason = reasons.lost(self._handle, "crashed and may be restarted", error)
            self._handle.lost(reason)
        self._close_outlet(reason)

    def undelivered(self, message: Any) -> None:
        if isinstance(message, SetPaused):
            refuse(message.reply, reasons.lost(self._handle, "has stopped"))

    def _end_because(self, end: EndOfSubscription | HistoryRewoundError) -> None:
        """End because of *end*, without a request."""
        if isinstance(end, HistoryRewoundError):
            try_tell(self.supervisor, HistoryRewound(end))
        self._reason = end.reason if isinstance(end, EndOfSubscription) else end
        self.finish(self._reason)

    def _end_if_done(self) -> None:
        if self._stop_at is None:
            return
        now = time.monotonic()
        if now >= self._stop_at or not self._acks_are_due():
            self.finish()
        else:
            self._alarm.at(min(self._stop_at, now + LIVENESS))

    def _acks_are_due(self) -> bool:
        """Return whether events are in flight and their subscriber is alive."""
        assert self._outlet is not None
        run = self._loop.run
        return run is not None and run.delivery.in_flight > 0 and self._outlet.is_alive()

    def _close_outlet(self, reason: EventStoreError) -> None:
        if self._outlet is not None:
            deadline = self._stop_at or time.monotonic()
            close_user_code(self._handle, self._loop, self._outlet, reason, deadline)

    # ── lease ────────────────────────────────────────────────────────────────────────────────

    def _seen(self, standing: Standing | None) -> None:
        if self._loop.run is not None or self._stop_at is not None:
            return
        if standing is None:
            raise EndOfSubscription(reasons.lost(self._handle, "was deleted"))
        # A caller who waits to hear whether the owner lives hears of it at the next look.
        if self._claimant.sees(standing) or self._reply is not None:
            self._claim()

    def _claim(self) -> None:
        asked_at = time.monotonic()
        try:
            claimed = self._claimant.claim()
        except StorageUnavailableError as error:
            if self._reply is not None:
                self._refuse(error)
            else:
                self._stand_by()
        except SubscriptionNotFoundError:
            raise EndOfSubscription(reasons.lost(self._handle, "was deleted")) from None
        except (EventStoreError, ValueError) as error:
            if isinstance(error, SubscriptionOptionsError) and self._reply is None:
                raise EndOfSubscription(error) from None
            if self._reply is None:
                raise
            self._refuse(error)
        else:
            self._claimed(claimed, asked_at)

    def _claimed(self, claimed: Claimed | Held, asked_at: float) -> None:
        if self._reply is not None and is_answered(self._reply):
            self._refuse(reasons.lost(self._handle, "was not waited for"))
            return
        if isinstance(claimed, Claimed):
            self._loop.start_run(claimed, asked_at + self._config.lease)
        elif self._claimant.may_stand_by(claimed, asked=self._reply is not None):
            self._stand_by()
        elif self._reply is not None and self._claimant.must_watch(claimed):
            self._stand_by()
            return
        else:
            self._refuse(reasons.in_use(self._handle, claimed))
        reply, self._reply = self._reply, None
        if reply is not None and not answer(reply, self._handle):
            self.finish()

    def _stand_by(self) -> None:
        """Have the keeper look at the row, until it may be claimed."""
        subscription_id, position_id = self._seat.subscription_id, self._seat.position_id
        if subscription_id is not None and position_id is not None:
            message = StandBy(subscription_id, position_id, self.actor_ref)
            self._shared.directory.tell(Child.KEEPER, message)

    def _refuse(self, error: Exception) -> None:
        """Fail the subscribing call if it still waits, and end."""
        self._reason = error if isinstance(error, EventStoreError) else None
        if self._reply is not None:
            assert self._outlet is not None
            self._outlet.refused()
            refuse(self._reply, error)
            self._reply = None
            self.finish()
        else:
            self.finish(error)

    def _check_ownership(self, message: Renewed | Seen | SeatWanted) -> None:
        match message:
            case Renewed():
                self._renewed(message)
            case Seen(standing):
                self._seen(standing)
            case SeatWanted():
                self._prove_seat()
            case _:
                assert_never(message)

    def _prove_seat(self) -> None:
        """Read the row: end if the subscription is lost, else say that the seat is kept."""
        run = self._loop.run
        if self._stop_at is not None:
            return
        if run is None:
            self._claim()
        elif self._claimant.has_lost(run.fence):
            self._fenced()
        if not self._ended:
            try_tell(self.supervisor, SeatKept(self.actor_urn))

    def _renewed(self, message: Renewed) -> None:
        run, kept = self._loop.run, message.kept
        if run is None or kept.fence != run.fence:
            return
        if not kept.owned:
            self._fenced()
            return
        self._loop.renew(message.good_until)
        # A row read before our own pause or resume is out of date.
        if message.asked_at > self._paused_at and kept.paused != run.delivery.paused:
            self._apply_pause(paused=kept.paused)
        else:
            self._loop.go_on()

    def _fenced(self) -> None:
        """Handle a lost lease: another owner took over, or a reset or a delete fenced this one."""
        reason = reasons.lost(self._handle, "was taken over, reset or deleted")
        self._loop.lose_run(reason)
        if self._stop_at is not None:
            self.finish()
        elif self._options.when_owned is WhenOwned.ERROR:
            raise EndOfSubscription(reason)
        else:
            self._claim()

    def _release(self) -> None:
        """Store the last progress and release the lease, so that a successor starts at once."""
        run = None if self._outlet is None else self._loop.run
        if run is None:
            return
        done = pykka.ThreadingFuture[bool]()
        message = Release(run.subscription_id, self._loop.last_progress(run, self._reason), done)
        if self._shared.directory.tell(Child.KEEPER, message):
            left = max(0.0, (self._stop_at or 0.0) - time.monotonic())
            with suppress(pykka.Timeout):
                done.get(timeout=left + _RELEASE_GRACE)

    # ── pausing ──────────────────────────────────────────────────────────────────────────────

    def _set_paused(self, *, paused: bool, reply: pykka.ThreadingFuture[None]) -> None:
        LANE.leave()
        key = (self._handle.stream_id, self._handle.subscription_name)
        deadline = time.monotonic() + self._config.connect_timeout
        try:
            self._shared.storage.set_paused(*key, paused=paused, deadline=deadline)
        except EventStoreError as error:
            refuse(reply, error)
            return
        self._paused_at = time.monotonic()
        self._apply_pause(paused=paused)
        answer(reply, None)

    def _apply_pause(self, *, paused: bool) -> None:
        change = self._loop.pause if paused else self._loop.resume
        change()

    # ── time and other actors ────────────────────────────────────────────────────────────────

    def _alarm_ticked(self) -> None:
        if not self._alarm.rang():
            return
        if self._stop_at is not None:
            self._end_if_done()
        elif self._loop.run is None:
            self._loop.check_subscriber()
            if self._claimant.is_due():
                self._claim()
        else:
            self._loop.look_again()

    def _set_alarm(self) -> None:
        """Set the alarm to the next due moment, or to the next regular check if that is sooner."""
        if self._ended:
            return
        now = time.monotonic()
        regular, due = self._loop.check_interval(), self._loop.next_moment()
        if self._loop.run is None:
            due = self._claimant.next_moment()
        self._alarm.at(min(now + regular, due if due is not None and due > now else math.inf))

    def _watch(self) -> None:
        self._shared.directory.tell(Child.PUBLISHER, Watch(self._handle.stream_id, self.actor_ref))

    def _child_restarted(self, child: Child) -> None:
        match child:
            case Child.PUBLISHER:
                self._watch()
                self._loop.announce(None)
            case Child.KEEPER:
                if self._loop.run is None:
                    self._stand_by()
                self._loop.report()
            case Child.WRITER:
                pass
            case _:
                assert_never(child)
