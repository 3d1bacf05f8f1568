"""The actor of one named subscription: the effects around a pure `Delivery`."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pykka

from actors.actor import SupervisedActor, try_tell
from actors.claim import Claimant
from actors.delivery import Delivery, Limits, Parcel, UndeliveredAckError
from actors.intake import Intake
from actors.messages import (
    Acknowledge,
    Child,
    ChildRestarted,
    Continue,
    Handled,
    HandlerFailed,
    HeadMoved,
    HistoryRewound,
    Keep,
    Release,
    Renewed,
    RetryNow,
    SetPaused,
    StoreProgress,
    Tick,
    Touched,
    Unwatch,
    Watch,
)
from actors.outlet import Outlet, outlet_for
from actors.reply import answer, refuse
from actors.subscriber import Letter
from actors.surroundings import Seat, Surroundings
from eventstore.errors import (
    DeliveryTimeoutError,
    EventStoreError,
    HistoryRewoundError,
    StorageUnavailableError,
    SubscriptionInUseError,
    SubscriptionLostError,
    SubscriptionNotFoundError,
)
from eventstore.identifiers import ALL_STREAMS
from eventstore.log import get_logger
from eventstore.messages import Events
from eventstore.storage import Claimed, Fence, Held, Progress
from eventstore.subscription import Subscription, SubscriptionState, WhenOwned

__all__ = ["SubscriptionActor"]

Reply = pykka.ThreadingFuture[Subscription]

LIVENESS = 1.0
"""Seconds between two looks at subscriber and lease."""

COALESCING = 0.05
"""Seconds within which acknowledgements are told to the keeper once."""

_RELEASE_GRACE = 1.0

log = get_logger()


@dataclass(slots=True)
class _Run:
    """A delivery run: from a claim, or a failed delivery, to the next."""

    number: int
    fence: Fence
    delivery: Delivery
    good_until: float
    """When the lease ends, unless it is renewed; nothing is sent after that."""
    progress_at: float
    """When something was acknowledged last, or sent after everything was."""
    kept_at: float = 0.0
    kept: Progress | None = None
    keep_told: bool = False
    resting: bool = False
    """A delivery failed, and the wait before the next one is not over."""

    def is_held(self) -> bool:
        return time.monotonic() < self.good_until


class SubscriptionActor(SupervisedActor):
    """Claims the subscription, reads on, sends what may be sent, and counts acknowledgements.

    Without a run it waits: somebody else owns the subscription, or the database is away.
    """

    def __init__(self, surroundings: Surroundings, seat: Seat, reply: Reply | None) -> None:
        handle = seat.handle
        name = f"subscription {handle.subscription_name}"
        super().__init__(name, surroundings.supervisor)
        self._shared = surroundings
        self._seat = seat
        self._handle = handle
        self._options = seat.options
        self._reply = reply
        self._claimant = Claimant(surroundings, seat)
        self._intake = Intake(surroundings, handle.stream_id, seat.options)
        self._outlet: Outlet | None = None
        self._run: _Run | None = None
        self._attempts = 0
        self._paused_at = 0.0
        self._sent_ever = 0
        self._continue_told = False
        self._stop_at: float | None = None
        self._reason: EventStoreError | None = None

    # ── life ─────────────────────────────────────────────────────────────────────────────────

    def setup(self) -> None:
        self._handle.connect(self.actor_ref)
        self._outlet = outlet_for(self._seat, self.actor_ref, f"{self.role} handler")
        # Watched before the first read, so that no event falls between the two.
        self._watch()
        self._claim()
        if not self._ended:
            self._tick_later()

    def receive(self, message: Any) -> None:  # noqa: C901 - one case per message
        match message:
            case Acknowledge(run, position) | Handled(run, position):
                self._acknowledged(run, position)
            case HeadMoved(position):
                self._head_moved(position)
            case Continue():
                self._continue_told = False
                self._go_on()
            case Renewed():
                self._renewed(message)
            case Tick():
                self._ticked()
            case StoreProgress():
                self._store_progress()
            case HandlerFailed(run, error):
                self._handler_failed(run, error)
            case RetryNow(run):
                self._retry(run)
            case SetPaused(paused, reply):
                self._set_paused(paused=paused, reply=reply)
            case Touched():
                self._claim_if_waiting()
            case ChildRestarted(child):
                self._child_restarted(child)
            case _:
                raise TypeError(f"not for a subscription: {message!r}")

    def stopping(self, deadline: float) -> None:
        """Send nothing more, and wait for the acknowledgements of what is in flight."""
        self._stop_at = deadline
        if self._run is not None:
            self._hold_back(self._run.delivery)
        self._end_if_done()

    def teardown(self, error: BaseException | None) -> None:
        directory = self._shared.directory
        directory.tell(Child.PUBLISHER, Unwatch(self._handle.stream_id, self.actor_ref))
        reason = self._reason or self._lost("was closed")
        if self._reply is not None:
            refuse(self._reply, error or reason)
        if error is None:
            self._release()
            self._handle.stopped(self._reason)
        self._run = None
        self._close_outlet(reason)

    def undelivered(self, message: Any) -> None:
        if isinstance(message, SetPaused):
            refuse(message.reply, self._lost("has stopped"))

    def _stop_because(self, reason: EventStoreError, cause: BaseException | None = None) -> None:
        """End although nobody asked for it."""
        reason.__cause__ = cause
        self._reason = reason
        self.finish(reason)

    def _end_if_done(self) -> None:
        if self._stop_at is None:
            return
        run = self._run
        if run is None or not run.delivery.in_flight or time.monotonic() >= self._stop_at:
            self.finish()
        else:
            self._tick_later(self._stop_at - time.monotonic())

    def _close_outlet(self, reason: EventStoreError) -> None:
        if self._outlet is None:
            return
        deadline = self._stop_at or time.monotonic()
        if not self._outlet.close(reason, deadline):
            log.warning("a handler has not returned", **self._named())

    # ── ownership ────────────────────────────────────────────────────────────────────────────

    def _claim_if_waiting(self) -> None:
        if self._run is None and self._stop_at is None:
            self._claim()

    def _claim(self) -> None:
        asked_at = time.monotonic()
        try:
            claimed = self._claimant.claim()
        except StorageUnavailableError as error:
            if self._reply is not None:
                self._refuse(error)
        except SubscriptionNotFoundError:
            self._stop_because(self._lost("was deleted"))
        except (EventStoreError, ValueError) as error:
            if self._reply is None:
                raise
            self._refuse(error)
        else:
            self._claimed(claimed, asked_at)

    def _claimed(self, claimed: Claimed | Held, asked_at: float) -> None:
        if isinstance(claimed, Held):
            if self._options.when_owned is WhenOwned.ERROR:
                self._refuse(self._in_use(claimed))
            else:
                self._answer()
        elif self._is_rewound(claimed):
            self._stop_because(self._rewound(claimed))
        else:
            self._start_run(claimed, asked_at)
            self._answer()

    def _answer(self) -> None:
        if self._reply is not None:
            answer(self._reply, self._handle)
            self._reply = None

    def _refuse(self, error: Exception) -> None:
        """Let the subscriber's call fail, or stop what waited for nothing."""
        if self._reply is not None:
            refuse(self._reply, error)
            self._reply = None
        self._reason = error if isinstance(error, EventStoreError) else None
        self.finish()

    def _start_run(self, claimed: Claimed, asked_at: float) -> None:
        limits = Limits(
            batch_by=self._options.batch_by,
            max_batch_size=self._options.max_batch_size,
            buffer_size=self._options.buffer_size,
            buffer_bytes=self._options.buffer_bytes,
        )
        delivery = Delivery(claimed.checkpoint, claimed.head, limits)
        if claimed.paused:
            delivery.pause()
        good_until = asked_at + self._shared.config.lease
        number = self._seat.next_run()
        self._run = _Run(number, claimed.fence, delivery, good_until, time.monotonic())
        self._handle.run_started(number, claimed.checkpoint)
        assert self._outlet is not None
        if self._outlet.begin():
            self._keep(self._run)
            self._go_on()
        else:
            self._subscriber_died()

    def _renewed(self, message: Renewed) -> None:
        run, kept = self._run, message.kept
        if run is None or kept.fence != run.fence:
            return
        if not kept.owned:
            self._fenced()
            return
        run.good_until = max(run.good_until, message.good_until)
        # What was asked before our own pause or resume does not know of it.
        if message.asked_at > self._paused_at and kept.paused != run.delivery.paused:
            self._apply_pause(run, paused=kept.paused)
        self._go_on()

    def _fenced(self) -> None:
        """Stop counting: another owner, a reset or a delete made this ownership void."""
        reason = self._lost("was taken over, reset or deleted")
        log.warning("subscription lost", **self._named())
        assert self._outlet is not None
        self._run = None
        self._seat.lose()
        self._handle.lost(reason)
        self._outlet.lost(reason)
        if self._stop_at is not None:
            self.finish()
        elif self._options.when_owned is WhenOwned.ERROR:
            self._stop_because(reason)
        else:
            self._claim()

    def _release(self) -> None:
        """Store how far it came, and let a successor go on at once."""
        run = self._run
        if run is None:
            return
        progress = self._progress(run, SubscriptionState.STOPPED)
        done = pykka.ThreadingFuture[bool]()
        if self._shared.directory.tell(Child.KEEPER, Release(progress, done)):
            with suppress(pykka.Timeout):
                done.get(timeout=self._shared.config.connect_timeout + _RELEASE_GRACE)

    # ── delivering ───────────────────────────────────────────────────────────────────────────

    def _head_moved(self, position: int | None) -> None:
        if self._run is not None:
            self._run.delivery.announce(position)
            self._go_on()

    def _acknowledged(self, number: int, position: int) -> None:
        run = self._run
        if run is None or run.number != number:
            return
        try:
            run.delivery.acknowledge(position)
        except UndeliveredAckError:
            # Sent, acknowledged in another thread, and taken back by a pause: it comes again.
            return
        run.progress_at = time.monotonic()
        if self._attempts:
            self._recovered()
        self._go_on()
        self._end_if_done()

    def _go_on(self) -> None:
        """Send what may be sent; read on, once per call, so that acknowledgements are heard."""
        run = self._run
        if run is None:
            return
        if self._stop_at is None and not run.resting and run.is_held():
            self._send(run)
            if self._run is run and self._read(run):
                self._send(run)
                self._continue_soon()
        if self._run is run:
            self._publish(run)

    def _send(self, run: _Run) -> None:
        delivery, outlet = run.delivery, self._outlet
        assert outlet is not None
        while parcels := delivery.next_batch():
            if delivery.in_flight == len(parcels):
                run.progress_at = time.monotonic()
            if not outlet.send(self._letter(run, parcels)):
                self._subscriber_died()
                return

    def _letter(self, run: _Run, parcels: list[Parcel]) -> Letter:
        last = parcels[-1].position
        # Before it is told: whoever hears of it may acknowledge it.
        self._handle.sent(last)
        self._sent_ever = max(self._sent_ever, last)
        events = Events(self._handle, [parcel.event for parcel in parcels], last)
        return Letter(run.number, events, parcels[0].before)

    def _read(self, run: _Run) -> bool:
        """Read if there is need and room; False: there is not, or it failed."""
        read = run.delivery.begin_read()
        if read is None:
            return False
        try:
            self._intake.fill(run.delivery, read)
        except StorageUnavailableError as error:
            log.warning("cannot read on", **self._named(), error=repr(error))
            self._rest(run, self._shared.config.poll_interval / 2)
            return False
        except BaseException as error:  # noqa: BLE001 - of a decoder, selector or mapper
            self._send(run)
            self._delivery_failed(run, error)
            return False
        return True

    def _continue_soon(self) -> None:
        if not self._continue_told:
            self._continue_told = True
            self.actor_ref.tell(Continue())

    # ── failures of user code ────────────────────────────────────────────────────────────────

    def _handler_failed(self, number: int, error: BaseException) -> None:
        run = self._run
        if run is None or run.number != number:
            return
        assert self._outlet is not None
        # What was sent behind the failed batch comes again after it, and with a new number: what
        # is still answered of this run does not count.
        self._outlet.take_back()
        run.delivery.redeliver()
        run.number = self._seat.next_run()
        self._handle.run_started(run.number, run.delivery.checkpoint)
        self._delivery_failed(run, error)

    def _delivery_failed(self, run: _Run, error: BaseException) -> None:
        self._attempts += 1
        retry = self._options.on_error
        self._handle.failed(error, self._attempts)
        if self._stop_at is not None:
            self._end_if_done()
        elif retry.attempts is not None and self._attempts >= retry.attempts:
            log.error("subscription gave up", **self._named(), error=repr(error))
            reason = self._lost(f"stopped after {self._attempts} attempts: {error!r}")
            self._stop_because(reason, error)
        else:
            delay = retry.delay(self._attempts)
            log.warning(
                "delivery failed",
                **self._named(),
                attempt=self._attempts,
                again_in=delay,
                error=repr(error),
            )
            self._rest(run, delay)
            self._publish(run)

    def _rest(self, run: _Run, delay: float) -> None:
        run.resting = True
        self._shared.timer.after(delay, self.actor_ref, RetryNow(run.number))

    def _retry(self, number: int) -> None:
        run = self._run
        if run is not None and run.number == number:
            run.resting = False
            self._go_on()
            if not run.resting and self._attempts and not run.delivery.in_flight:
                # The selector, mapper or decoder let everything pass this time.
                self._recovered()

    def _recovered(self) -> None:
        self._attempts = 0
        self._handle.failed(None, 0)

    def _subscriber_died(self) -> None:
        self._stop_because(self._lost("stopped: its subscriber died"))

    # ── pausing ──────────────────────────────────────────────────────────────────────────────

    def _set_paused(self, *, paused: bool, reply: pykka.ThreadingFuture[None]) -> None:
        key = (self._handle.stream_id, self._handle.subscription_name)
        deadline = time.monotonic() + self._shared.config.connect_timeout
        try:
            self._shared.storage.set_paused(*key, paused=paused, deadline=deadline)
        except EventStoreError as error:
            refuse(reply, error)
            return
        self._paused_at = time.monotonic()
        if self._run is not None:
            self._apply_pause(self._run, paused=paused)
            self._go_on()
        answer(reply, None)

    def _apply_pause(self, run: _Run, *, paused: bool) -> None:
        if paused:
            self._hold_back(run.delivery)
            run.delivery.pause()
        else:
            run.delivery.resume()
        self._keep(run, urgent=True)

    def _hold_back(self, delivery: Delivery) -> None:
        """Take back what was sent to a function and is not in its hands yet."""
        assert self._outlet is not None
        after = self._outlet.take_back()
        if after is not None:
            delivery.take_back(after)
            self._handle.sent(delivery.sent)

    # ── progress ─────────────────────────────────────────────────────────────────────────────

    def _state(self, run: _Run) -> SubscriptionState:
        if not run.is_held():
            return SubscriptionState.WAITING
        if run.resting:
            retries = self._attempts > 0
            return SubscriptionState.RETRYING if retries else SubscriptionState.WAITING
        return run.delivery.state

    def _publish(self, run: _Run) -> None:
        state, delivery = self._state(run), run.delivery
        self._handle.progressed(state, delivery.checkpoint, delivery.in_flight)
        kept = run.kept
        if kept is not None and kept.checkpoint == delivery.checkpoint and kept.state is state:
            return
        if time.monotonic() - run.kept_at >= COALESCING:
            self._keep(run)
        elif not run.keep_told:
            run.keep_told = True
            self._shared.timer.after(COALESCING, self.actor_ref, StoreProgress())

    def _store_progress(self) -> None:
        if self._run is not None:
            self._run.keep_told = False
            self._keep(self._run)

    def _keep(self, run: _Run, *, urgent: bool = False) -> None:
        run.kept = self._progress(run, self._state(run))
        run.kept_at = time.monotonic()
        self._shared.directory.tell(Child.KEEPER, Keep(run.kept, self.actor_ref, urgent))

    def _progress(self, run: _Run, state: SubscriptionState) -> Progress:
        error = self._handle.last_error
        return Progress(
            run.fence,
            run.delivery.checkpoint,
            state,
            None if error is None else repr(error),
            self._attempts,
        )

    # ── time and surroundings ────────────────────────────────────────────────────────────────

    def _ticked(self) -> None:
        run = self._run
        assert self._outlet is not None
        if not self._outlet.is_alive():
            self._subscriber_died()
        elif self._stop_at is not None:
            self._end_if_done()
        elif run is None:
            self._claim()
        elif self._is_overdue(run):
            self._stop_because(self._overdue())
        else:
            self._go_on()
        if not self._ended:
            self._tick_later()

    def _tick_later(self, most: float = LIVENESS) -> None:
        waits = [most, LIVENESS]
        if self._run is None:
            waits.append(self._shared.config.poll_interval)
        if self._options.ack_timeout is not None:
            waits.append(self._options.ack_timeout / 4)
        self._shared.timer.after(max(0.0, min(waits)), self.actor_ref, Tick())

    def _is_overdue(self, run: _Run) -> bool:
        timeout = self._options.ack_timeout
        if timeout is None or not run.delivery.in_flight:
            return False
        return time.monotonic() - run.progress_at > timeout

    def _watch(self) -> None:
        directory = self._shared.directory
        directory.tell(Child.PUBLISHER, Watch(self._handle.stream_id, self.actor_ref))

    def _child_restarted(self, child: Child) -> None:
        run = self._run
        if child is Child.PUBLISHER:
            self._watch()
            self._head_moved(None)
        elif child is Child.KEEPER and run is not None:
            self._keep(run, urgent=True)

    # ── errors ───────────────────────────────────────────────────────────────────────────────

    def _named(self) -> dict[str, str]:
        handle = self._handle
        return {"stream_id": handle.stream_id, "subscription_name": handle.subscription_name}

    def _lost(self, reason: str) -> SubscriptionLostError:
        stream_id, name = self._handle.stream_id, self._handle.subscription_name
        return SubscriptionLostError(
            f"subscription {name!r} to {stream_id!r} {reason}", stream_id, name
        )

    def _in_use(self, held: Held) -> SubscriptionInUseError:
        handle = self._handle
        return SubscriptionInUseError(
            handle.stream_id, handle.subscription_name, held.owner_name, held.since
        )

    def _overdue(self) -> DeliveryTimeoutError:
        handle = self._handle
        return DeliveryTimeoutError(
            f"subscription {handle.subscription_name!r} to {handle.stream_id!r} stopped:"
            f" nothing was acknowledged for {self._options.ack_timeout} s",
            handle.stream_id,
            handle.subscription_name,
            handle.state,
        )

    def _is_rewound(self, claimed: Claimed) -> bool:
        """Tell whether the store lost events that were sent; positions never go back else."""
        return self._handle.stream_id == ALL_STREAMS and claimed.head < self._sent_ever

    def _rewound(self, claimed: Claimed) -> HistoryRewoundError:
        error = HistoryRewoundError(
            f"the head of the store went back to {claimed.head}, position {self._sent_ever} was"
            f" delivered to subscription {self._handle.subscription_name!r}"
        )
        try_tell(self.supervisor, HistoryRewound(error))
        return error
