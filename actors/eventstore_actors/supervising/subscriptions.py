"""The subscriptions of a runtime: admission, restart and end of their actors."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import assert_never

import pykka

from eventstore.model.caught_error import CaughtError
from eventstore.model.errors import (
    EventStoreError,
    SubscriptionInUseError,
    SubscriptionLostError,
    SubscriptionNotFoundError,
)
from eventstore.model.log import get_logger
from eventstore.model.safe_text import error_text
from eventstore.model.subscriber_messages import SubscriptionLost
from eventstore.model.subscription import Subscription, SubscriptionState
from eventstore.ports.ownership import Progress
from eventstore_actors.kernel.actor import answer, is_answered, refuse, try_tell
from eventstore_actors.kernel.messages import (
    Child,
    Ref,
    Release,
    SeatKept,
    SeatWanted,
    Stop,
    Subscribe,
    Unsubscribe,
    Unwatch,
)
from eventstore_actors.state import subscription_errors as reasons
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat
from eventstore_actors.state.store_state import Key, StoreState
from eventstore_actors.state.subscription_handle import SubscriptionHandle
from eventstore_actors.supervising.restart_budget import GiveUp, RestartAfter, RestartBudget

__all__ = ["RestartSubscription", "StartSubscription", "Subscriptions"]

log = get_logger()

Reply = pykka.ThreadingFuture[Subscription]

StartSubscription = Callable[[Context, Seat, Reply | None], Ref]
"""Starts the actor of a seat, which answers the reply; the reply is None at a restart."""


@dataclass(frozen=True, slots=True)
class RestartSubscription:
    """From the timer to the supervisor: restart this subscription's actor now."""

    key: Key


@dataclass(slots=True)
class _TakenSeat:
    """A seat that is taken by a subscription, and the actor of that subscription."""

    seat: Seat
    budget: RestartBudget
    reply: Reply
    """Of the call that subscribed."""
    actor: Ref | None = None
    """None while it is being restarted."""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    leaving: bool = False
    """The actor was told to stop."""
    unsubscribed: list[pykka.ThreadingFuture[None]] = field(default_factory=list)
    """Answered when the seat is free."""
    successor: Subscribe | None = None
    """Gets the seat when the actor has ended, or is refused when the actor says that it stays."""

    @property
    def is_connected(self) -> bool:
        """The call that subscribed has got its handle."""
        try:
            self.reply.get(timeout=0)
        except BaseException:  # noqa: BLE001 - it was refused, or still waits
            return False
        return True

    @property
    def is_free(self) -> bool:
        """A successor may take the seat: nobody is in it any more, or its actor ends."""
        subscriber = self.seat.actor
        ends = self.leaving or self.seat.handle.join_quietly(0)
        deserted = is_answered(self.reply) and not self.is_connected
        return ends or deserted or (subscriber is not None and not subscriber.is_alive())


class Subscriptions:
    """One seat per subscription; used by the supervisor alone."""

    def __init__(self, context: Context, tree: StoreState, start: StartSubscription) -> None:
        self._shared = context
        self._tree = tree
        self._start_actor = start
        self._taken: dict[Key, _TakenSeat] = {}
        self.restarts = 0

    def actors(self) -> dict[str, Ref]:
        """Return the running actors by name."""
        return {
            f"subscription {name!r} to {stream_id!r}": taken.actor
            for (stream_id, name), taken in self._taken.items()
            if taken.actor is not None
        }

    def tell_all(self, message: object) -> None:
        for actor in self.actors().values():
            try_tell(actor, message)

    def receive(self, message: RestartSubscription | Subscribe | Unsubscribe | SeatKept) -> None:
        match message:
            case RestartSubscription():
                self.restart(message)
            case Subscribe():
                self.subscribe(message)
            case Unsubscribe():
                self.unsubscribe(message)
            case SeatKept(urn):
                self.kept(urn)
            case _:
                assert_never(message)

    def subscribe(self, message: Subscribe) -> None:
        """Seat the subscriber, now or after its predecessor has ended; refuse a name in use.

        The row of a seat may be gone or reset already, here or in another process. So a name is in
        use only if the actor has read that after the call.
        """
        key = (message.stream_id, message.subscription_name)
        taken = self._taken.get(key)
        if taken is None:
            self._seat(key, message)
        elif taken.successor is not None:
            refuse(message.reply, _in_use(key, taken.since))
        else:
            taken.successor = message
            if taken.is_free:
                self._stop_actor(key, taken)
            else:
                try_tell(taken.actor, SeatWanted())

    def kept(self, urn: str) -> None:
        """Refuse the successor of the actor of *urn*, which stays."""
        key = self._key_of(urn)
        if key is None:
            return
        taken = self._taken[key]
        if taken.successor is not None and not taken.leaving:
            refuse(taken.successor.reply, _in_use(key, taken.since))
            taken.successor = None

    def unsubscribe(self, message: Unsubscribe) -> None:
        """Stop a subscription at once; unacknowledged events will be redelivered.

        One that gave up is forgotten.
        """
        key, handle = (message.stream_id, message.subscription_name), message.handle
        taken = self._taken.get(key)
        if taken is not None and handle in {None, taken.seat.handle}:
            taken.unsubscribed.append(message.reply)
            self._stop_actor(key, taken)
        elif self._tree.forget_given_up(key, handle):
            answer(message.reply, None)
        else:
            refuse(message.reply, SubscriptionNotFoundError(*key))

    def crashed(self, urn: str, error: BaseException) -> bool:
        """Restart the actor of *urn*, or stop its subscription; return False if it has no seat."""
        key = self._key_of(urn)
        if key is None:
            return False
        taken = self._taken[key]
        self._forget_actor(key, taken)
        decision = taken.budget.crashed(error, time.monotonic())
        if taken.leaving or not taken.is_connected:
            self._free_seat(key, None)
        elif isinstance(decision, GiveUp):
            self._give_up(key, decision, error)
        else:
            self._restart_later(key, decision, error)
        return True

    def ended(self, urn: str, error: BaseException | None) -> bool:
        """Note the orderly end of an actor; return False if it has no seat."""
        key = self._key_of(urn)
        if key is None:
            return False
        taken = self._taken[key]
        if taken.leaving or not taken.is_connected:
            self._free_seat(key, None)
        else:
            handle = taken.seat.handle
            if handle.reason is None:
                handle.stopped(reasons.lost(handle, "stopped, though nobody asked it to"))
            ended = error or handle.reason
            text = None if ended is None else error_text(ended)
            log.warning("subscription stopped", **_named(key), error=text)
            self._free_seat(key, None, gave_up=True)
        return True

    def restart(self, message: RestartSubscription) -> None:
        """Restart the actor, unless the subscription has ended meanwhile."""
        taken = self._taken.get(message.key)
        if taken is not None and taken.actor is None:
            self.restarts += 1
            self._start(taken, None)

    def close(self, reason: BaseException | None) -> None:
        """Mark all remaining handles as stopped, and refuse all successors."""
        shown = reason if isinstance(reason, EventStoreError) else None
        for key in list(self._taken):
            self._free_seat(key, shown, again=False)

    # ── private ──────────────────────────────────────────────────────────────────────────────

    def _seat(self, key: Key, message: Subscribe) -> None:
        if is_answered(message.reply):
            # The caller has given up waiting.
            return
        shared = self._shared
        handle = SubscriptionHandle(
            *key, config=shared.config, storage=shared.storage, supervisor=shared.supervisor
        )
        taken = _TakenSeat(
            Seat(
                handle,
                message.subscriber,
                message.options,
                subscription_id=message.subscription_id,
            ),
            RestartBudget(shared.config.max_restarts, shared.config.restart_window),
            message.reply,
        )
        self._taken[key] = taken
        self._tree.add_subscription(key, handle, message.subscriber)
        self._start(taken, message.reply)

    def _start(self, taken: _TakenSeat, reply: Reply | None) -> None:
        taken.actor = self._start_actor(self._shared, taken.seat, reply)
        if taken.successor is not None:
            # Its predecessor crashed before it answered.
            try_tell(taken.actor, SeatWanted())

    def _stop_actor(self, key: Key, taken: _TakenSeat) -> None:
        taken.leaving = True
        if taken.actor is None:
            self._free_seat(key, None)
        else:
            # If it is dead already, its report to the supervisor is on its way.
            try_tell(taken.actor, Stop(time.monotonic(), pykka.ThreadingFuture()))

    def _restart_later(self, key: Key, decision: RestartAfter, error: BaseException) -> None:
        log.error(
            "subscription crashed",
            **_named(key),
            restart_in=decision.delay,
            error=error_text(error),
        )
        if decision.delay:
            shared = self._shared
            assert shared.supervisor is not None
            shared.timer.after(decision.delay, shared.supervisor, RestartSubscription(key))
        else:
            self.restart(RestartSubscription(key))

    def _give_up(self, key: Key, decision: GiveUp, error: BaseException) -> None:
        """Stop this subscription alone; the others and the store keep running."""
        crash = CaughtError.own(error)
        log.error("subscription gave up", **_named(key), crashes=decision.crashes, error=crash.text)
        reason = SubscriptionLostError(
            f"subscription {key[1]!r} to {key[0]!r} stopped: it crashed {decision.crashes} times"
            f" within {self._shared.config.restart_window} s: {crash.text}",
            *key,
        )
        reason.__cause__ = error
        seat = self._taken[key].seat
        seat.handle.failed(crash, decision.crashes)
        seat.handle.stopped(reason)
        try_tell(seat.actor, SubscriptionLost(seat.handle, reason))
        self._release(seat)
        self._free_seat(key, reason, gave_up=True)

    def _forget_actor(self, key: Key, taken: _TakenSeat) -> None:
        assert taken.actor is not None
        self._shared.directory.tell(Child.PUBLISHER, Unwatch(key[0], taken.actor))
        taken.actor = None

    def _release(self, seat: Seat) -> None:
        """Have the keeper end an ownership that no actor of the seat ends, and store why."""
        handle, subscription_id = seat.handle, seat.subscription_id
        if seat.fence is None or subscription_id is None:
            return
        last = Progress(
            seat.fence,
            handle.checkpoint,
            SubscriptionState.STOPPED,
            handle.last_error_report,
            handle.attempts,
        )
        self._shared.directory.tell(
            Child.KEEPER, Release(subscription_id, last, pykka.ThreadingFuture())
        )

    def _free_seat(
        self, key: Key, reason: EventStoreError | None, *, again: bool = True, gave_up: bool = False
    ) -> None:
        taken = self._taken.pop(key)
        handle = taken.seat.handle
        if not handle.join_quietly(0):
            handle.stopped(reason)
        if not taken.is_connected:
            self._release(taken.seat)
        self._tree.remove_subscription(key, gave_up=gave_up)
        taken.seat.leave()
        for reply in taken.unsubscribed:
            answer(reply, None)
        if taken.successor is not None and again:
            self._seat(key, taken.successor)
        elif taken.successor is not None:
            refuse(taken.successor.reply, _closed(key))

    def _key_of(self, urn: str) -> Key | None:
        for key, taken in self._taken.items():
            if taken.actor is not None and taken.actor.actor_urn == urn:
                return key
        return None


def _in_use(key: Key, since: datetime) -> SubscriptionInUseError:
    return SubscriptionInUseError(*key, f"{socket.gethostname()}:{os.getpid()}, this store", since)


def _closed(key: Key) -> SubscriptionLostError:
    return SubscriptionLostError(f"subscription {key[1]!r} to {key[0]!r} was closed", *key)


def _named(key: Key) -> dict[str, str]:
    return {"stream_id": key[0], "subscription_name": key[1]}
