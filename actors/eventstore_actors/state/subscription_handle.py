"""The handle of a running subscription: published values, acknowledgements, waiting, pausing."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import msgspec
import pykka

from eventstore.client import lifetime
from eventstore.model.caught_error import CaughtError
from eventstore.model.config import Config
from eventstore.model.deliveries import DeliveryRun
from eventstore.model.errors import (
    EventStoreError,
    StorageUnavailableError,
    UnexpectedAckError,
)
from eventstore.model.events import RecordedEvent
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.runtime import SubscriptionHealth
from eventstore.ports.storage import Storage
from eventstore.ports.waits import BLOCKING, Waits, run_blocking
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Acknowledge, Ref, SetPaused, Stop, Unsubscribe
from eventstore_actors.state import subscription_errors as reasons
from eventstore_actors.state.ack_check import acknowledged_position
from eventstore_actors.state.acks import Ack, Acks
from eventstore_actors.state.awaited_handle import AwaitedHandle
from eventstore_actors.state.nacks import refusal
from eventstore_actors.state.standstill import Standstill

__all__ = ["SubscriptionHandle"]


class SubscriptionHandle(AwaitedHandle):
    """The handle that `subscribe_*` returns; thread-safe. It survives restarts of its actor.

    The actor publishes through it. Every published value is one attribute that the actor alone
    writes, so reading needs no lock. Acknowledging does no I/O.
    """

    def __init__(
        self,
        stream_id: str,
        subscription_name: str,
        *,
        config: Config,
        storage: Storage,
        supervisor: Ref | None,
    ) -> None:
        super().__init__(stream_id, subscription_name, config, storage)
        self._supervisor = supervisor
        self._actor: Ref | None = None
        self._acked, self._replays = 0, False
        self._attempts = 0
        self.skipped = self.parked = 0  # given up, by its actor
        self._in_flight = 0
        self._standstill = Standstill()
        # Weak: an event that somebody keeps must not keep the storage.
        self._run = DeliveryRun(weakref.ref(storage), stream_id, subscription_name, 0)
        self._sent = 0
        self._sent_ever = 0
        self._lost: EventStoreError | None = None
        self._reason: EventStoreError | None = None
        self._acks = Acks()
        self.is_transactional = False
        """Whether the transactions of its function acknowledge events, and nobody else."""

    def __repr__(self) -> str:
        return (
            f"<Subscription {self._subscription_name!r} to {self._stream_id!r},"
            f" {self._state} at {self._checkpoint}>"
        )

    # ── for its holder ───────────────────────────────────────────────────────────────────────

    @property
    def attempts(self) -> int:
        """Attempts that the oldest event has used up."""
        return self._attempts

    @property
    def last_error_report(self) -> str | None:
        """The text of the last error, and its traceback from the second line on."""
        return None if self._error is None else self._error.full_text

    @property
    def reason(self) -> EventStoreError | None:
        """Why it stopped; None if it runs, and if it was asked to stop."""
        return self._reason

    def health(self) -> SubscriptionHealth:
        return SubscriptionHealth(
            stream_id=self._stream_id,
            subscription_name=self._subscription_name,
            state=self._state,
            checkpoint=self._checkpoint,
            in_flight=self._in_flight,
            seconds_without_progress=self._standstill.seconds(),
            last_error=self.last_error_report,
            attempts=self._attempts,
            skipped=self.skipped,
            parked=self.parked,
        )

    def ack(self, what: int | RecordedEvent | Sequence[RecordedEvent]) -> None:
        """Acknowledge everything up to *what*; see `eventstore.model.subscription.Subscription`."""
        # Read before the checks: a run that starts meanwhile has sent no more than this one.
        run, lost = self._run, self._lost
        position = acknowledged_position(what, run)
        if self.is_transactional:
            raise reasons.acknowledged_by_transaction(self, position)
        if position > self._sent_ever:
            raise UnexpectedAckError(
                self._stream_id, self._subscription_name, position, self._sent_ever
            )
        if lost is not None:
            raise reasons.lost(self, f"is no longer owned here: {lost}") from lost
        if position <= self._acked:
            return
        if position > self._sent:
            raise reasons.lost(self, f"started a new run: position {position} will be redelivered")
        if not self.acknowledge(run.number, position):
            raise reasons.lost(self, f"is being restarted: position {position} will be redelivered")

    def nack(
        self, event: RecordedEvent, action: Literal["retry", "skip", "park", "stop"], *, reason: str
    ) -> None:
        """Refuse *event*; see `eventstore.model.subscription.Subscription`."""
        lost = self._lost
        message = refusal(event, action, reason, self._run)
        if self.is_transactional:
            raise reasons.acknowledged_by_transaction(self, message.last_position)
        if lost is not None:
            raise reasons.lost(self, f"is no longer owned here: {lost}") from lost
        if message.last_position <= self._acked:
            raise reasons.acknowledged_before(self, message.last_position)
        if not try_tell(self._actor, message):
            raise reasons.lost(self, "is being restarted: all in flight will be redelivered")

    def pause(self) -> None:
        """Pause delivery; no batch is sent after this returns."""
        self._set_paused(paused=True)

    def resume(self) -> None:
        """Resume delivery after the last batch sent; after the checkpoint if it was restarted."""
        self._set_paused(paused=False)

    def unsubscribe(self) -> None:
        """Stop it and release its lease; the checkpoint stays stored. Idempotent."""
        reply: pykka.ThreadingFuture[None] = pykka.ThreadingFuture()
        message = Unsubscribe(self._stream_id, self._subscription_name, reply, self)
        has_stopped = self._state is SubscriptionState.STOPPED
        told = try_tell(self._supervisor, message)
        if told and has_stopped:
            with suppress(EventStoreError, pykka.Timeout):
                reply.get(timeout=self._answer_timeout)
        elif told:
            # Not for the reply: the end of a handler is waited for before, and this may be one.
            self.join_quietly(self._answer_timeout)

    def join(self, timeout: float | None = None) -> None:
        """Block until it has stopped. SIGTERM and SIGINT close its store meanwhile.

        Raises:
            EventStoreError: The failure that stopped it.
            TimeoutError: It still runs after *timeout* seconds.
        """
        self._joined(timeout, lifetime.join(lifetime.closer_of(self), self.join_quietly, timeout))

    async def joined(self, timeout: float | None, waits: Waits) -> None:
        """Do what `join` does, without a look at signals, and wait as *waits* does."""
        self._joined(timeout, await self._settled(math.inf, _seconds(timeout), waits))

    def _joined(self, timeout: float | None, has_stopped: bool) -> None:
        if not has_stopped:
            raise TimeoutError(f"{self!r} still runs after {timeout} s")
        if self._reason is not None:
            raise self._reason.with_traceback(None)

    def join_quietly(self, timeout: float | None) -> bool:
        """Block until it has stopped; return False if it still runs after *timeout* seconds."""
        return run_blocking(self._settled(math.inf, _seconds(timeout), BLOCKING))

    # ── for its subscriber ───────────────────────────────────────────────────────────────────

    @property
    def run(self) -> DeliveryRun:
        """The current delivery run, or the last one."""
        return self._run

    def acknowledge(self, run: int, position: int) -> bool:
        """Forward the acknowledgement; return False if the actor is gone."""
        ack, actor = (run, position), self._actor
        if not self._acks.add(ack):
            return actor is not None and bool(actor.is_alive())
        if try_tell(actor, Acknowledge(run, position)):
            return True
        self._acks.clear()
        return False

    # ── for its actor and its supervisor ─────────────────────────────────────────────────────

    def newest_ack(self, sent: Acknowledge) -> Ack:
        """Return run and position of the newest acknowledgement, at least *sent*."""
        return self._acks.take((sent.run, sent.position))

    def connect(self, actor: Ref) -> None:
        """Send acknowledgements and pauses to *actor* from now on."""
        self._actor = actor
        self._acks.clear()

    def owned(self, subscription_id: int, epoch: int, checkpoint: int) -> None:
        """Publish where the row stands of which this process is the owner now."""
        self._checkpoint = checkpoint
        self._owned = subscription_id, epoch

    def run_started(self, number: int, checkpoint: int, replayed: int | None = None) -> None:
        """Accept acknowledgements of a new run; *replayed*: it delivers parked events after it."""
        self._checkpoint = checkpoint
        self._sent = self._acked = checkpoint if replayed is None else replayed
        self._replays = replayed is not None
        self._sent_ever = max(self._sent_ever, checkpoint)
        self._in_flight = 0
        self._lost = None
        self._run = msgspec.structs.replace(self._run, number=number)

    def sent(self, position: int) -> None:
        """Accept acknowledgements up to *position*; called before the batch is sent."""
        self._sent = position
        self._sent_ever = max(self._sent_ever, position)

    def progressed(
        self, state: SubscriptionState, checkpoint: int, in_flight: int, *, behind: bool = False
    ) -> None:
        """Publish the progress of a run; *behind*: there are events that it has not delivered."""
        progressed = checkpoint != self._checkpoint
        self._standstill.note(waits=behind or in_flight > 0, progressed=progressed)
        self._in_flight = in_flight
        if not progressed and state is self._state:
            return
        self._checkpoint = checkpoint
        if not self._replays:
            self._acked = checkpoint
        self._state = state
        self._notify()

    def failed(self, error: CaughtError | None, attempts: int) -> None:
        """Publish a failed delivery; None and 0: delivery has recovered."""
        self._error = error
        self._attempts = attempts

    def lost(self, error: EventStoreError) -> None:
        """Refuse acknowledgements until the next run starts."""
        self._lost = error
        self._in_flight = 0
        self._standstill.note(waits=False, progressed=False)
        self._state = SubscriptionState.WAITING
        self._notify()

    def stopped(self, reason: EventStoreError | None) -> None:
        """Publish the end; *reason* is None if the stop was requested."""
        self._lost = reason or reasons.lost(self, "was closed")
        self._reason = reason
        if reason is not None:
            self._error = reasons.shown_for(reason, self._error)
        self._in_flight = 0
        self._state = SubscriptionState.STOPPED
        self._notify()

    def hurry(self, deadline: float) -> None:
        """Let its actor, which is stopping, wait no longer than until *deadline*."""
        try_tell(self._actor, Stop(deadline, pykka.ThreadingFuture()))

    # ── private ──────────────────────────────────────────────────────────────────────────────

    @property
    def _answer_timeout(self) -> float:
        """Seconds to wait for the actor: a storage call it is in, and the one for this request."""
        return 2 * self._config.connect_timeout + 1

    def _set_paused(self, *, paused: bool) -> None:
        deadline = time.monotonic() + self._answer_timeout
        reply: pykka.ThreadingFuture[None] = pykka.ThreadingFuture()
        while not try_tell(self._actor, SetPaused(paused, reply)):
            # The actor is being restarted.
            if self.join_quietly(0.02):
                raise reasons.lost(self, "has stopped")
            if time.monotonic() >= deadline:
                raise StorageUnavailableError(f"{self!r} is being restarted")
        try:
            reply.get(timeout=max(0.0, deadline - time.monotonic()))
        except pykka.Timeout:
            raise StorageUnavailableError(f"{self!r} did not answer in time") from None


def _seconds(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout
