"""The handle of a running subscription: read and acknowledged from any thread, without I/O."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence

import pykka

from eventstore.model.awaited import position_in
from eventstore.model.checks import check_int, shown
from eventstore.model.config import Config
from eventstore.model.errors import (
    EventStoreError,
    StorageUnavailableError,
    UnexpectedAckError,
)
from eventstore.model.events import AppendResult, RecordedEvent
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.runtime import SubscriptionHealth
from eventstore.ports.storage import Storage
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Acknowledge, Ref, SetPaused, Unsubscribe
from eventstore_actors.state import subscription_errors as reasons

__all__ = ["Acks", "SubscriptionHandle"]

Ack = tuple[int, int]
"""A delivery run, and the position up to which it is acknowledged."""


class Acks:
    """The newest one that the actor has not heard of: it stands for all before it.

    So one message tells of however many come until it is read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: Ack | None = None

    def add(self, ack: Ack) -> bool:
        """Take note, from any thread; True: no message is on its way, so the actor is to be told.

        Runs are numbered upwards, so a newer run's acknowledgement is newer.
        """
        with self._lock:
            newest = self._newest
            if newest is None or newest < ack:
                self._newest = ack
        return newest is None

    def take(self, told: Ack) -> Ack:
        """Return what to do for a message that told of *told*: that, or what came after it."""
        with self._lock:
            newest, self._newest = self._newest, None
        return told if newest is None else max(newest, told)

    def clear(self) -> None:
        """Forget what an actor that is gone was told."""
        with self._lock:
            self._newest = None


class SubscriptionHandle:
    """What `subscribe_*` returns; it outlives restarts of its actor, which publishes through it.

    Every published value is one attribute, written by the actor alone, so that reading needs no
    lock. Who waits is notified under a condition, and only while somebody waits.
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
        self._stream_id = stream_id
        self._subscription_name = subscription_name
        self._config = config
        self._storage = storage
        self._supervisor = supervisor
        self._actor: Ref | None = None
        self._state = SubscriptionState.WAITING
        self._checkpoint = 0
        self._last_error: BaseException | None = None
        self._attempts = 0
        self._in_flight = 0
        self._progress_at = time.monotonic()
        self._run = 0
        self._sent = 0
        self._sent_ever = 0
        self._lost: EventStoreError | None = None
        self._reason: EventStoreError | None = None
        self._acks = Acks()
        self._changed = threading.Condition()
        self._waiting: list[float] = []
        """Per call that waits, the position that it waits for."""

    def __repr__(self) -> str:
        return (
            f"<Subscription {self._subscription_name!r} to {self._stream_id!r},"
            f" {self._state} at {self._checkpoint}>"
        )

    # ── for everybody ────────────────────────────────────────────────────────────────────────

    @property
    def stream_id(self) -> str:
        return self._stream_id

    @property
    def subscription_name(self) -> str:
        return self._subscription_name

    @property
    def state(self) -> SubscriptionState:
        return self._state

    @property
    def checkpoint(self) -> int:
        """Everything up to this position is acknowledged."""
        return self._checkpoint

    @property
    def last_error(self) -> BaseException | None:
        """Why it retries, or stopped though nobody asked it to."""
        return self._last_error

    @property
    def attempts(self) -> int:
        """Failed deliveries in a row."""
        return self._attempts

    def health(self) -> SubscriptionHealth:
        idle = self._state is SubscriptionState.LIVE and not self._in_flight
        return SubscriptionHealth(
            stream_id=self._stream_id,
            subscription_name=self._subscription_name,
            state=self._state,
            checkpoint=self._checkpoint,
            in_flight=self._in_flight,
            seconds_without_progress=0.0 if idle else time.monotonic() - self._progress_at,
            last_error=None if self._last_error is None else repr(self._last_error),
            attempts=self._attempts,
        )

    def ack(self, what: int | RecordedEvent | Sequence[RecordedEvent]) -> None:
        """Acknowledge everything up to *what*; see `eventstore.model.subscription.Subscription`."""
        position = _position_of(what)
        # Read first: a run that starts meanwhile has sent at most what this one has.
        run, lost = self._run, self._lost
        if position > self._sent_ever:
            raise UnexpectedAckError(
                self._stream_id, self._subscription_name, position, self._sent_ever
            )
        if lost is not None:
            raise reasons.lost(self, f"is not ours any more: {lost}") from lost
        if position <= self._checkpoint:
            return
        if position > self._sent:
            raise reasons.lost(self, f"started a new run: position {position} will come again")
        if not self.acknowledge(run, position):
            raise reasons.lost(self, f"is being restarted: position {position} will come again")

    def pause(self) -> None:
        """Send no batch any more; takes effect before this returns.

        Raises:
            StorageUnavailableError: It could not be stored; nothing changed.
            SubscriptionLostError: The subscription stopped.
        """
        self._set_paused(paused=True)

    def resume(self) -> None:
        """Go on after the last batch sent, or, if it was restarted meanwhile, after the checkpoint.

        Raises:
            StorageUnavailableError: It could not be stored; nothing changed.
            SubscriptionLostError: The subscription stopped.
        """
        self._set_paused(paused=False)

    def unsubscribe(self) -> None:
        """Stop it and give up its ownership; its position stays stored. Harmless when repeated."""
        reply: pykka.ThreadingFuture[None] = pykka.ThreadingFuture()
        message = Unsubscribe(self._stream_id, self._subscription_name, reply)
        if self._state is not SubscriptionState.STOPPED and try_tell(self._supervisor, message):
            self.join_quietly(self._patience)

    def wait_for(
        self,
        what: AppendResult | Sequence[AppendResult] | RecordedEvent,
        timeout: float,
    ) -> None:
        """Block until *what* was delivered and acknowledged, here or wherever it is owned.

        Raises:
            DeliveryTimeoutError: Not within *timeout* seconds, or the subscription stopped.
        """
        position = position_in(self._stream_id, what)
        deadline = time.monotonic() + timeout
        while not self._wait_until(position, self._slice_until(deadline)):
            if self._state is SubscriptionState.WAITING and self._is_stored(position, deadline):
                return
            if time.monotonic() >= deadline:
                break
        if self._checkpoint < position:
            raise reasons.too_late(self, position, timeout) from self._last_error

    def join(self, timeout: float | None = None) -> None:
        """Block until it stopped.

        Raises:
            EventStoreError: What stopped it, if it was not asked to.
            TimeoutError: It still runs after *timeout* seconds.
        """
        if not self.join_quietly(timeout):
            raise TimeoutError(f"{self!r} still runs after {timeout} s")
        if self._reason is not None:
            raise self._reason.with_traceback(None)

    def join_quietly(self, timeout: float | None) -> bool:
        """Block until it stopped, for whatever reason; False: it still runs."""
        return self._wait_until(math.inf, timeout)

    # ── for its subscriber ───────────────────────────────────────────────────────────────────

    def acknowledge(self, run: int, position: int) -> bool:
        """Tell the actor, unless it will hear of it anyway; False: nobody hears of it."""
        ack, actor = (run, position), self._actor
        if not self._acks.add(ack):
            return actor is not None and bool(actor.is_alive())
        if try_tell(actor, Acknowledge(run, position)):
            return True
        self._acks.clear()
        return False

    # ── for its actor and its supervisor ─────────────────────────────────────────────────────

    def acknowledged(self, told: Acknowledge) -> tuple[int, int]:
        """Return run and position of what is acknowledged: as it was *told*, or newer."""
        return self._acks.take((told.run, told.position))

    def connect(self, actor: Ref) -> None:
        """Take acknowledgements and pauses to *actor* from now on."""
        self._actor = actor
        self._acks.clear()

    def run_started(self, run: int, checkpoint: int) -> None:
        self._sent = self._checkpoint = checkpoint
        self._sent_ever = max(self._sent_ever, checkpoint)
        self._in_flight = 0
        self._lost = None
        self._run = run
        self._progress_at = time.monotonic()

    def sent(self, position: int) -> None:
        """Let everything up to *position* be acknowledged; before the subscriber hears of it."""
        self._sent = position
        self._sent_ever = max(self._sent_ever, position)

    def progressed(self, state: SubscriptionState, checkpoint: int, in_flight: int) -> None:
        self._in_flight = in_flight
        if checkpoint == self._checkpoint and state is self._state:
            return
        self._progress_at = time.monotonic()
        self._checkpoint = checkpoint
        self._state = state
        # Each batch comes by here: nobody is woken to find that it has to wait on.
        if checkpoint >= min(self._waiting, default=math.inf):
            self._notify()

    def failed(self, error: BaseException | None, attempts: int) -> None:
        """Show why a delivery failed, or, with None and 0, that it does not fail any more."""
        self._last_error = error
        self._attempts = attempts

    def lost(self, error: EventStoreError) -> None:
        """Refuse acknowledgements until the next run starts."""
        self._lost = error
        self._state = SubscriptionState.WAITING
        self._notify()

    def stopped(self, reason: EventStoreError | None) -> None:
        """Show that it ended: as it was asked to, or because of *reason*."""
        self._lost = reason or reasons.lost(self, "was closed")
        self._reason = reason
        if reason is not None and self._last_error is None:
            self._last_error = reason
        self._in_flight = 0
        self._state = SubscriptionState.STOPPED
        self._notify()

    # ── inside ───────────────────────────────────────────────────────────────────────────────

    @property
    def _patience(self) -> float:
        """How long an answer of the actor may take: a call to the storage of its own, and ours."""
        return 2 * self._config.connect_timeout + 1

    def _set_paused(self, *, paused: bool) -> None:
        deadline = time.monotonic() + self._patience
        reply: pykka.ThreadingFuture[None] = pykka.ThreadingFuture()
        while not try_tell(self._actor, SetPaused(paused, reply)):
            # Its actor is being restarted.
            if self.join_quietly(0.02):
                raise reasons.lost(self, "has stopped")
            if time.monotonic() >= deadline:
                raise StorageUnavailableError(f"{self!r} is being restarted")
        try:
            reply.get(timeout=max(0.0, deadline - time.monotonic()))
        except pykka.Timeout:
            raise StorageUnavailableError(f"{self!r} did not answer in time") from None

    def _settled(self, position: float) -> bool:
        return self._checkpoint >= position or self._state is SubscriptionState.STOPPED

    def _slice_until(self, deadline: float) -> float:
        """Wait no longer than it takes to see a standby's owner make progress."""
        return max(0.0, min(self._config.poll_interval, deadline - time.monotonic()))

    def _is_stored(self, position: int, deadline: float) -> bool:
        try:
            info = self._storage.subscription_info(
                self._stream_id, self._subscription_name, deadline
            )
        except EventStoreError:
            return False
        return info.checkpoint >= position

    def _wait_until(self, position: float, timeout: float | None) -> bool:
        """Block until everything up to *position* is acknowledged, or it stopped."""
        with self._changed:
            self._waiting.append(position)
            try:
                return self._changed.wait_for(lambda: self._settled(position), timeout)
            finally:
                self._waiting.remove(position)

    def _notify(self) -> None:
        # Whoever waits counted itself before it looked at what was just written.
        if self._waiting:
            with self._changed:
                self._changed.notify_all()


def _position_of(what: object) -> int:
    """Return the position up to which *what* acknowledges."""
    match what:
        case bool():
            pass
        case int():
            return check_int("position", what, least=0)
        case RecordedEvent():
            return what.position
        case Events():
            return what.last_position
        case []:
            raise ValueError("an empty list acknowledges nothing")
        case [*_, RecordedEvent() as last]:
            return last.position
    raise TypeError(
        f"acknowledge an event, a list of events, an Events or a position: {shown(what)}"
    )
