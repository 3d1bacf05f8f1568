"""The `Runtime` port over a tree of actors: calls go in as messages, pykka's errors stay here."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Self, TypeVar

import pykka

from eventstore.model.checks import shown
from eventstore.model.config import Config
from eventstore.model.errors import EventStoreError, StorageUnavailableError
from eventstore.model.subscription import Subscription, SubscriptionOptions
from eventstore.ports.runtime import Health, Wake
from eventstore.ports.storage import Storage
from eventstore.ports.stored_events import Append, Committed
from eventstore.ports.waits import Waits
from eventstore_actors.announcing.waiting_thread import WaitingThread
from eventstore_actors.appending.caller import CallerAppender
from eventstore_actors.delivering.function_subscriber import FunctionSubscriber, check_subscriber
from eventstore_actors.delivering.preparing import Preparer
from eventstore_actors.delivering.settling import check_transactional
from eventstore_actors.kernel.actor import SupervisedActor, current_actor, refuse, try_tell
from eventstore_actors.kernel.messages import (
    AskHealth,
    Child,
    EventsDeleted,
    LookForEvents,
    Ref,
    Stop,
    Subscribe,
    Unsubscribe,
    Watch,
)
from eventstore_actors.kernel.workers import WORKERS
from eventstore_actors.state.store_state import Phase, StoreState, health_of, state_of
from eventstore_actors.supervising.opener import opening_time
from eventstore_actors.supervising.supervisor import StoreSupervisor

__all__ = ["ActorRuntime"]

_T = TypeVar("_T")

_LONGEST_START = 300.0
"""Seconds that starting may take in all, an embedded server that recovers included."""

_GRACE = 1.0
"""Seconds beyond a deadline after which an actor that should have answered is not waited for."""


class ActorRuntime:
    """Runs a store on a `StoreSupervisor`: its own, or one that the application started."""

    def __init__(self, supervisor: Ref, tree: StoreState, *, owned: bool) -> None:
        """Use a supervisor.

        Args:
            supervisor: Its reference.
            tree: What it shares.
            owned: Whether `close` stops it, rather than only letting go of it.
        """
        self._supervisor = supervisor
        self._tree = tree
        self._owned = owned
        self._appender = CallerAppender(tree)
        self._detached = False

    @classmethod
    def start(
        cls,
        config: Config,
        *,
        init: bool,
        pool: object | None = None,
        beside: Storage | None = None,
    ) -> Self:
        """Start a supervisor and wait until the store can be used; see `Runtime.start`."""
        patience = opening_time(config, init=init)
        supervisor = StoreSupervisor.start(
            config, init=init, open_timeout=patience, pool=pool, beside=beside
        )
        tree = state_of(supervisor)
        assert tree is not None
        runtime = cls(supervisor, tree, owned=True)
        try:
            tree.wait_up(_LONGEST_START)
        except BaseException:
            runtime.close(_GRACE)
            raise
        return runtime

    @classmethod
    def attach(cls, handle: Any, timeout: float) -> Self:
        """Use the supervisor that the application started, once it is up."""
        tree = state_of(handle) if isinstance(handle, pykka.ActorRef) else None
        if tree is None:
            raise TypeError(
                f"attach to the reference that StoreSupervisor.start returned: {shown(handle)}"
            )
        tree.wait_up(timeout)
        return cls(handle, tree, owned=False)

    @staticmethod
    def is_subscriber(candidate: object) -> bool:
        """Tell whether *candidate* is an actor's reference."""
        return isinstance(candidate, pykka.ActorRef)

    @property
    def config(self) -> Config:
        return self._tree.config

    @property
    def storage(self) -> Storage:
        return self._tree.storage

    def append(self, append: Append, deadline: float) -> Committed:
        """Have the writer store *append*; see `Runtime.append`."""
        return self._appender.append(append, deadline)

    async def append_waiting(self, append: Append, deadline: float, waits: Waits) -> Committed:
        """Have the writer store *append*; see `Runtime.append_waiting`."""
        return await self._appender.append_waiting(append, deadline, waits)

    def await_transaction(self, transaction_id: int) -> None:
        """Have the announcer look until the transaction has ended; see `Runtime`."""
        self._tree.announcements.note_transaction(transaction_id)

    def wake(self) -> None:
        """Have listener and announcer do what they do after a commit; see `Runtime.wake`."""
        self._tree.announcements.note_events()
        self._tree.directory.tell(Child.PUBLISHER, LookForEvents())

    def subscribe(
        self,
        stream_id: str,
        subscription_name: str,
        subscriber: Any,
        options: SubscriptionOptions,
        subscription_id: int | None = None,
    ) -> Subscription:
        """Ask the supervisor for a seat, and wait until the subscription is ours or waits."""
        check_subscriber(subscriber)
        check_transactional(subscriber, options, self.storage)
        reply = pykka.ThreadingFuture[Subscription]()
        key = stream_id, subscription_name
        self._tell(Subscribe(*key, subscriber, options, reply, subscription_id))
        # An owner whose lease the database's clock cannot judge is watched for a lease.
        return self._answer(reply, self.config.lease)

    def unsubscribe(self, stream_id: str, subscription_name: str) -> None:
        """Stop a subscription, and wait for its end."""
        reply = pykka.ThreadingFuture[None]()
        self._tell(Unsubscribe(stream_id, subscription_name, reply))
        self._answer(reply)

    def subscription(self, stream_id: str, subscription_name: str) -> Subscription | None:
        return self._tree.handle((stream_id, subscription_name))

    def watch(self, stream_id: str, wake: Wake) -> None:
        """Have the publisher call *wake*; see `Runtime.watch`."""
        self._tree.directory.tell(Child.PUBLISHER, Watch(stream_id, WaitingThread(wake)))

    def forget(self) -> None:
        """Have the publisher forget the events in memory, and wait for it."""
        done = pykka.ThreadingFuture[None]()
        self._tree.directory.tell(Child.PUBLISHER, EventsDeleted(done))
        with suppress(pykka.Timeout):  # it is being restarted, with an empty memory
            done.get(timeout=_GRACE)

    def health(self) -> Health:
        """Return how every part fares; answered by the supervisor, which never blocks."""
        reply = pykka.ThreadingFuture[Health]()
        if try_tell(self._supervisor, AskHealth(reply)):
            with suppress(pykka.Timeout):
                answered: Health = reply.get(timeout=_GRACE)
                return answered
        stuck = ("supervisor",) if self._supervisor.is_alive() else ()
        return health_of(self._tree, running=False, restarts=0, stuck=stuck)

    def wait_stopped(self, timeout: float | None, *, any_subscription: bool = False) -> bool:
        """Block until the store ended or, if it is only attached to, was let go of."""
        gave_up: EventStoreError | None = None

        def let_go() -> bool:
            nonlocal gave_up
            gave_up = self._tree.given_up(any_subscription=any_subscription)
            return self._detached or gave_up is not None

        ended = self._tree.wait_ended(timeout, let_go)
        if gave_up is not None and not self._detached:
            raise gave_up.with_traceback(None)
        # Not before the end: until then the subscribers are being told.
        if ended and self._tree.failure is not None:
            raise self._tree.reason()
        return ended

    def close(self, timeout: float) -> None:
        """End everything, or let go of a supervisor that belongs to the application.

        Within a handler it returns at once: what waits for the handler's acknowledgement cannot be
        waited for by the handler.
        """
        if not self._owned:
            self._detached = True
            self._tree.nudge()
            return
        is_called_by_subscriber = self._called_by_subscriber()
        over = self._stop_by(time.monotonic() + timeout)
        if is_called_by_subscriber:
            return
        try:
            self._tree.wait_ended(max(0.0, self._tree.stops_by - time.monotonic()) + _GRACE)
            if over is not None:
                with suppress(pykka.Timeout):
                    over.get(timeout=_GRACE)
            WORKERS.wait_ended(_GRACE)
        except BaseException:
            # Ctrl-C: ownerships are released in that time, unless the database is away.
            self.stop_by(time.monotonic())
            self._tree.wait_ended(_GRACE)
            raise

    def stop_by(self, deadline: float) -> None:
        """Have everything ended by *deadline*, or by an earlier one of before; see `Runtime`."""
        self._stop_by(deadline)

    def _stop_by(self, deadline: float) -> pykka.ThreadingFuture[None] | None:
        """Do what `stop_by` does.

        Returns:
            The reply of the supervisor when nothing is left of it; None if it is dead already.
        """
        over = pykka.ThreadingFuture[None]()
        sooner = self._tree.stop_by(deadline)
        lives = try_tell(self._supervisor, Stop(deadline, over))
        if sooner:
            for handle in self._tree.handles():
                handle.hurry(deadline)
        return over if lives else None

    def abandon(self) -> None:
        """Do nothing: after a fork no actor runs here, and nothing here needs one."""

    # ── inside ───────────────────────────────────────────────────────────────────────────────

    def _called_by_subscriber(self) -> bool:
        """Tell whether this thread runs a subscriber, or another actor of this store."""
        match current_actor():
            case None:
                return False
            case FunctionSubscriber() | Preparer() as actor:
                return actor.handle in self._tree.handles()
            case SupervisedActor() as actor:
                return actor.supervisor is self._supervisor
            case actor:
                return self._tree.has_subscriber(actor.actor_ref)

    def _tell(self, message: Subscribe | Unsubscribe) -> None:
        self._tree.check()
        try:
            self._supervisor.tell(message)
        except pykka.ActorDeadError as error:
            reason = self._gone(error)
            raise reason from reason.__cause__

    def _answer(self, reply: pykka.ThreadingFuture[_T], more: float = 0.0) -> _T:
        # A predecessor that reads its row, one that releases, then claims; each of them is bounded.
        patience = 4 * self.config.connect_timeout + more + _GRACE
        try:
            answer: _T = reply.get(timeout=patience)
        except pykka.Timeout as error:
            reason = self._gone(error)
            # Refused, so that nobody answers it any more; unless somebody just did.
            if refuse(reply, reason):
                raise reason from reason.__cause__
            answer = reply.get(timeout=0)
        except KeyboardInterrupt as error:
            refuse(reply, StorageUnavailableError(f"the call was interrupted: {error!r}"))
            raise
        return answer

    def _gone(self, error: pykka.ActorDeadError | pykka.Timeout) -> BaseException:
        """Return what it means for a caller that an actor is dead, or does not answer."""
        reason = self._tree.reason()
        if self._tree.phase is Phase.UP:
            reason = StorageUnavailableError(f"no answer from the runtime: {error}")
        if reason.__cause__ is None:
            reason.__cause__ = error
        return reason
