"""The children of a supervisor: how each is started, and in which order all are stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import assert_never

import pykka

from eventstore.client.codec import Codec
from eventstore.model.subscription import Subscription
from eventstore.ports.storage import Storage
from eventstore_actors.announcing.publisher import Publisher
from eventstore_actors.appending.writer import Writer
from eventstore_actors.delivering.subscription_actor import SubscriptionActor
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Child, Ref, Stop, ThreadCrashed
from eventstore_actors.kernel.shared_timer import TIMER
from eventstore_actors.owning.keeper import Keeper
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat
from eventstore_actors.state.store_state import StoreState
from eventstore_actors.supervising.services import Services
from eventstore_actors.supervising.subscriptions import Subscriptions
from eventstore_actors.supervising.threads import Threads

__all__ = ["Children", "start_permanent", "start_subscription", "stop_and_wait"]

_RESERVE = 1.0
"""Seconds before the deadline at which waiting for acknowledgements ends."""

_GRACE = 0.5
"""Grace period, in seconds, for children that have used up the deadline: as long as a handler may
take to return, and to end when it is cancelled."""


class Children:
    """The permanent children and the subscriptions of one supervisor, and what they share."""

    def __init__(self, tree: StoreState, storage: Storage, supervisor: Ref) -> None:
        config = tree.config
        self._shared = Context(
            config=config,
            storage=storage,
            codec=Codec(config.serializer, config.types),
            recent=tree.recent,
            announcements=tree.announcements,
            timer=TIMER.join(self._timer_crashed),
            directory=tree.directory,
            supervisor=supervisor,
            turn=tree.turn,
        )
        self.permanent = Services(self._shared, start_permanent)
        self.seats = Subscriptions(self._shared, tree, start_subscription)
        self.threads = Threads(self._shared, self.permanent)

    @property
    def restarts(self) -> int:
        return self.permanent.restarts + self.seats.restarts + self.threads.restarts

    def start(self) -> None:
        self._shared.storage.supervise(self._thread_crashed)
        self.permanent.start_all()
        self.threads.look()

    def stop(self, deadline: float, *, acks: bool, reason: BaseException | None) -> list[str]:
        """Stop all children, each before those that it needs, and close the storage.

        Args:
            deadline: When to stop waiting for them.
            acks: Wait for the acknowledgements of events in flight.
            reason: The failure of the store, for the handles; None if the stop was requested.

        Returns:
            The names of the children that have not ended.
        """
        late = self._stop_subscriptions(deadline, acks=acks, reason=reason)
        self.seats.close(reason)
        late += self._stop_permanent([Child.WRITER], deadline)
        late += self._stop_permanent([Child.KEEPER, Child.PUBLISHER], deadline)
        TIMER.leave(self._timer_crashed)
        self._shared.storage.close()
        return late

    def _timer_crashed(self, error: BaseException) -> None:
        self._thread_crashed("timer", error)

    def _thread_crashed(self, thread: str, error: BaseException) -> None:
        """Tell the supervisor, in the thread that crashed."""
        try_tell(self._shared.supervisor, ThreadCrashed(thread, error))

    def _stop_subscriptions(
        self, deadline: float, *, acks: bool, reason: BaseException | None
    ) -> list[str]:
        now = time.monotonic()
        reserve = min(_RESERVE, (deadline - now) / 4)
        return stop_and_wait(
            self.seats.actors(),
            deadline=deadline - reserve if acks else now,
            wait_until=max(deadline, now + _GRACE),
            reason=reason,
        )

    def _stop_permanent(self, children: list[Child], deadline: float) -> list[str]:
        """Stop *children*; they get a grace period even if the deadline has passed."""
        found = {str(child): ref for child in children if (ref := self.permanent.find(child))}
        for child in children:
            self.permanent.remove(child)
        wait_until = max(deadline, time.monotonic() + _GRACE)
        return stop_and_wait(found, deadline=deadline, wait_until=wait_until)


def start_permanent(child: Child, context: Context) -> Ref:
    """Start a permanent child."""
    match child:
        case Child.WRITER:
            return Writer.start(context)
        case Child.PUBLISHER:
            return Publisher.start(context)
        case Child.KEEPER:
            return Keeper.start(context)
        case _:
            assert_never(child)


def start_subscription(
    context: Context, seat: Seat, reply: pykka.ThreadingFuture[Subscription] | None
) -> Ref:
    """Start the actor of a subscription; *reply* is None at a restart."""
    return SubscriptionActor.start(context, seat, reply)


def stop_and_wait(
    actors: Mapping[str, Ref],
    *,
    deadline: float,
    wait_until: float,
    reason: BaseException | None = None,
) -> list[str]:
    """Send `Stop` to all of *actors*, and wait until they have ended.

    Args:
        actors: The actors by name.
        deadline: Until when the actors may wait for acknowledgements.
        wait_until: Until when to wait for the actors.
        reason: The failure of the store; None if the stop was requested.

    Returns:
        The names of the actors that have not ended.
    """
    replies: dict[str, pykka.ThreadingFuture[None]] = {}
    for name, actor in actors.items():
        reply = pykka.ThreadingFuture[None]()
        if try_tell(actor, Stop(deadline, reply, reason)):
            replies[name] = reply
    return [name for name, reply in replies.items() if not _is_answered(reply, wait_until)]


def _is_answered(reply: pykka.ThreadingFuture[None], until: float) -> bool:
    try:
        reply.get(timeout=max(0.0, until - time.monotonic()))
    except pykka.Timeout:
        return False
    return True
