"""Where the batches of a subscription go: to an actor, or to a function that is called."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import pykka

from eventstore.model.errors import EventStoreError
from eventstore.model.subscriber_messages import Subscribed, SubscriptionLost
from eventstore_actors.delivering.function_subscriber import FunctionSubscriber, Letter, Mailbox
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Fetch, Ref, Stop
from eventstore_actors.state.seat import Seat

__all__ = ["Outlet", "outlet_for"]

GRACE = 0.2
"""Seconds that a function may go on beyond the moment at which its subscription should end."""


LIVENESS = 1.0
"""Most seconds between two looks at what tells nobody that it ended."""

REST = 10.0
"""Seconds between two looks where everybody tells."""


class Outlet(Protocol):
    """Who receives. Nothing here blocks but `close`, and that not for long."""

    patience: float
    """Most seconds between two looks whether anybody is there."""
    grace: float
    """Seconds that what is in flight gets at least before the end."""

    def begin(self) -> bool:
        """Tell that a delivery run starts; False: nobody is there any more."""

    def renew(self, good_until: float) -> None:
        """Hand out batches until this moment of `time.monotonic`."""

    def send(self, letters: Sequence[Letter]) -> bool:
        """Send batches, in order; False: nobody is there any more."""

    def is_alive(self) -> bool: ...

    def take_back(self) -> int | None:
        """Take back what was sent and not begun; return the position before it, None: nothing."""

    def lost(self, reason: EventStoreError) -> None:
        """Tell that the subscription is not the subscriber's any more."""

    def refused(self) -> None:
        """Tell nothing any more: the call that should connect the subscriber fails."""

    def close(self, reason: EventStoreError, deadline: float) -> bool:
        """End it; False: a handler is still running."""


class ActorOutlet:
    """Tells an actor; what it was told cannot be taken back."""

    grace = 0.0
    patience = LIVENESS

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


class FunctionOutlet:
    """Puts batches into the mailbox of an actor that calls the function."""

    grace = GRACE
    patience = REST

    def __init__(self, seat: Seat, subscription: Ref, role: str) -> None:
        self._mailbox = Mailbox()
        self._ref: Ref = FunctionSubscriber.start(seat, self._mailbox, subscription, role)

    def begin(self) -> bool:
        self._mailbox.take_back()
        return True

    def renew(self, good_until: float) -> None:
        if self._mailbox.renew(good_until):
            try_tell(self._ref, Fetch())

    def send(self, letters: Sequence[Letter]) -> bool:
        return not self._mailbox.put(letters) or try_tell(self._ref, Fetch())

    def is_alive(self) -> bool:
        return bool(self._ref.is_alive())

    def take_back(self) -> int | None:
        return self._mailbox.take_back()

    def lost(self, reason: EventStoreError) -> None:  # noqa: ARG002 - a function is not told
        self._mailbox.take_back()

    def refused(self) -> None: ...

    def close(self, reason: EventStoreError, deadline: float) -> bool:  # noqa: ARG002 - the same
        self._mailbox.close()
        reply = pykka.ThreadingFuture[None]()
        if not try_tell(self._ref, Stop(deadline, reply)):
            return True
        try:
            reply.get(timeout=max(GRACE, deadline - time.monotonic()))
        except pykka.Timeout:
            return False
        return True


def outlet_for(seat: Seat, subscription: Ref, role: str) -> Outlet:
    """Return where the batches of *seat* go; what is started for it ends with `close`."""
    if seat.actor is not None:
        return ActorOutlet(seat)
    return FunctionOutlet(seat, subscription, role)
