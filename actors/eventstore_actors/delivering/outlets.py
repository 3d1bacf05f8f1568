"""The ways a batch goes to its subscriber: as a message to an actor, or as a function call."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import pykka

from eventstore.client.coroutine_handler import CoroutineHandler
from eventstore.model.errors import EventStoreError
from eventstore.model.subscriber_messages import Subscribed, SubscriptionLost
from eventstore_actors.delivering.coroutine_subscriber import CoroutineSubscriber
from eventstore_actors.delivering.function_subscriber import (
    Call,
    FunctionSubscriber,
    Letter,
    Mailbox,
)
from eventstore_actors.delivering.settling import call_of
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Fetch, Ref, Stop
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat

__all__ = ["Outlet", "outlet_for"]

GRACE = 0.2
"""Least seconds that a running handler gets to return when its subscription ends."""

LIVENESS = 1.0
"""Poll interval, in seconds, when the subscriber does not report its own end."""

SLOW_LIVENESS = 10.0
"""Poll interval, in seconds, when the subscriber reports its own end."""


class Outlet(Protocol):
    """The subscriber as its subscription sees it. Only `close` blocks, and it is bounded."""

    check_interval: float
    """Poll interval for the life of the subscriber, in seconds."""
    grace: float
    """Least seconds that events in flight get to be acknowledged before the end."""

    def begin(self) -> bool:
        """Announce a new delivery run; return False if the subscriber is dead."""

    def renew(self, good_until: float) -> None:
        """Hand out batches until *good_until* on `time.monotonic`."""

    def send(self, letters: Sequence[Letter]) -> bool:
        """Send batches, in order; return False if the subscriber is dead."""

    def is_alive(self) -> bool: ...

    def interrupt(self) -> bool:
        """Interrupt the subscriber, which takes too long; return False if that cannot be done."""

    def take_back(self) -> int | None:
        """Take back the batches that are not started; return the position before them, if any."""

    def lost(self, reason: EventStoreError) -> None:
        """Report that the subscription is lost."""

    def refused(self) -> None:
        """Report nothing at the end: the subscribing call itself fails."""

    def close(self, reason: EventStoreError, deadline: float) -> bool:
        """End it; return False if a handler is still running at *deadline*."""


class ActorOutlet:
    """Sends batches to an actor; they cannot be taken back."""

    grace = 0.0
    check_interval = LIVENESS

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._ref: Ref = seat.actor
        self._knows_loss = False

    def begin(self) -> bool:
        self._knows_loss = False
        return try_tell(self._ref, Subscribed(self._seat.handle))

    def renew(self, good_until: float) -> None: ...

    def send(self, letters: Sequence[Letter]) -> bool:
        return all(try_tell(self._ref, letter.batch) for letter in letters)

    def is_alive(self) -> bool:
        return bool(self._ref.is_alive())

    def interrupt(self) -> bool:
        return False

    def take_back(self) -> None:
        return None

    def lost(self, reason: EventStoreError) -> None:
        self._knows_loss = True
        try_tell(self._ref, SubscriptionLost(self._seat.handle, reason))

    def refused(self) -> None:
        self._knows_loss = True

    def close(self, reason: EventStoreError, deadline: float) -> bool:  # noqa: ARG002 - nothing runs
        if not self._knows_loss:
            self.lost(reason)
        return True


class MailboxOutlet(ABC):
    """Puts batches into a mailbox, from which the subscriber fetches them, one at a time."""

    grace = GRACE

    def __init__(self) -> None:
        self._mailbox = Mailbox()

    @abstractmethod
    def _wake(self) -> bool:
        """Have the subscriber fetch; return False if it is dead."""

    def begin(self) -> bool:
        self.take_back()
        return True

    def renew(self, good_until: float) -> None:
        if self._mailbox.renew(good_until):
            self._wake()

    def send(self, letters: Sequence[Letter]) -> bool:
        return not self._mailbox.put(letters) or self._wake()

    def take_back(self) -> int | None:
        return self._mailbox.take_back()

    def lost(self, reason: EventStoreError) -> None:  # noqa: ARG002 - a function is not told
        self._mailbox.take_back()

    def refused(self) -> None: ...  # noqa: B027 - a function is not told


class FunctionOutlet(MailboxOutlet):
    """The outlet to a `FunctionSubscriber`, which calls the function."""

    check_interval = SLOW_LIVENESS

    def __init__(self, seat: Seat, call: Call, subscription: Ref, role: str) -> None:
        super().__init__()
        self._ref: Ref = FunctionSubscriber.start(seat, call, self._mailbox, subscription, role)

    def _wake(self) -> bool:
        return try_tell(self._ref, Fetch())

    def is_alive(self) -> bool:
        return bool(self._ref.is_alive())

    def interrupt(self) -> bool:
        return False

    def close(self, reason: EventStoreError, deadline: float) -> bool:  # noqa: ARG002 - not told
        self._mailbox.close()
        reply = pykka.ThreadingFuture[None]()
        if not try_tell(self._ref, Stop(deadline, reply)):
            return True
        try:
            reply.get(timeout=max(GRACE, deadline - time.monotonic()))
        except pykka.Timeout:
            return False
        return True


class CoroutineOutlet(MailboxOutlet):
    """The outlet to a `CoroutineSubscriber`, which awaits the function."""

    check_interval = LIVENESS

    def __init__(
        self, seat: Seat, handler: CoroutineHandler, call: Call, subscription: Ref
    ) -> None:
        super().__init__()
        self._subscriber = CoroutineSubscriber(seat, handler, call, self._mailbox, subscription)
        self._interrupted = False

    def _wake(self) -> bool:
        return self._subscriber.fetch()

    def is_alive(self) -> bool:
        return self._subscriber.is_alive()

    def interrupt(self) -> bool:
        if self._interrupted:
            return False
        self._interrupted = True
        self._subscriber.interrupt()
        return True

    def take_back(self) -> int | None:
        # What comes next is another attempt, with as much time.
        self._interrupted = False
        return super().take_back()

    def close(self, reason: EventStoreError, deadline: float) -> bool:  # noqa: ARG002 - not told
        self._mailbox.close()
        return self._subscriber.stop(deadline)


def outlet_for(seat: Seat, context: Context, subscription: Ref, role: str) -> Outlet:
    """Return the outlet of a new subscription actor; its `close` ends whatever it started."""
    if seat.actor is not None:
        return ActorOutlet(seat)
    call = call_of(seat, context)
    if isinstance(seat.subscriber, CoroutineHandler):
        return CoroutineOutlet(seat, seat.subscriber, call, subscription)
    return FunctionOutlet(seat, call, subscription, role)
