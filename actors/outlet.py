"""Where the batches of a subscription go: to an actor, or to a function that is called."""

from __future__ import annotations

import time
from typing import Protocol

import pykka

from actors.actor import try_tell
from actors.messages import Fetch, Ref, Stop
from actors.subscriber import CallableSubscriber, Letter, Mailbox
from actors.surroundings import Seat
from eventstore.errors import EventStoreError
from eventstore.messages import Subscribed, SubscriptionLost

__all__ = ["Outlet", "outlet_for"]

_LEAST_WAIT = 0.2


class Outlet(Protocol):
    """Who receives. Nothing here blocks but `close`, and that not for long."""

    def begin(self) -> bool:
        """Tell that a delivery run starts; False: nobody is there any more."""

    def send(self, letter: Letter) -> bool:
        """Send a batch; False: nobody is there any more."""

    def is_alive(self) -> bool: ...

    def take_back(self) -> int | None:
        """Take back what was sent and not begun; return the position before it."""

    def lost(self, reason: EventStoreError) -> None:
        """Tell that the subscription is not the subscriber's any more."""

    def close(self, reason: EventStoreError, deadline: float) -> bool:
        """End it; False: a handler is still running."""


class ActorOutlet:
    """Tells an actor."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._ref: Ref = seat.actor
        self._told_lost = False

    def begin(self) -> bool:
        self._told_lost = False
        return try_tell(self._ref, Subscribed(self._seat.handle))

    def send(self, letter: Letter) -> bool:
        return try_tell(self._ref, letter.batch)

    def is_alive(self) -> bool:
        return bool(self._ref.is_alive())

    def take_back(self) -> int | None:
        return None

    def lost(self, reason: EventStoreError) -> None:
        self._told_lost = True
        try_tell(self._ref, SubscriptionLost(self._seat.handle, reason))

    def close(self, reason: EventStoreError, deadline: float) -> bool:  # noqa: ARG002 - nothing runs
        if not self._told_lost:
            self.lost(reason)
        return True


class CallableOutlet:
    """Puts batches into the mailbox of an actor that calls the function."""

    def __init__(self, seat: Seat, subscription: Ref, role: str) -> None:
        self._mailbox = Mailbox()
        self._ref: Ref = CallableSubscriber.start(seat, self._mailbox, subscription, role)

    def begin(self) -> bool:
        self._mailbox.take_back()
        return True

    def send(self, letter: Letter) -> bool:
        self._mailbox.put(letter)
        return try_tell(self._ref, Fetch())

    def is_alive(self) -> bool:
        return True

    def take_back(self) -> int | None:
        return self._mailbox.take_back()

    def lost(self, reason: EventStoreError) -> None:  # noqa: ARG002 - a function is not told
        self._mailbox.take_back()

    def close(self, reason: EventStoreError, deadline: float) -> bool:  # noqa: ARG002 - the same
        self._mailbox.close()
        reply = pykka.ThreadingFuture[None]()
        if not try_tell(self._ref, Stop(deadline, reply)):
            return True
        try:
            reply.get(timeout=max(_LEAST_WAIT, deadline - time.monotonic()))
        except pykka.Timeout:
            return False
        return True


def outlet_for(seat: Seat, subscription: Ref, role: str) -> Outlet:
    """Return where the batches of *seat* go; what is started for it ends with `close`."""
    if seat.actor is not None:
        return ActorOutlet(seat)
    return CallableOutlet(seat, subscription, role)
