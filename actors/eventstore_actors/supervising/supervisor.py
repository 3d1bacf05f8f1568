"""The supervisor of a store: starts its children, restarts those that crash, stops them all."""

from __future__ import annotations

import time
from typing import Any

import pykka

from eventstore.model.checks import shown
from eventstore.model.config import Config
from eventstore.model.errors import NotRunningError
from eventstore.model.log import get_logger
from eventstore.model.safe_text import error_text
from eventstore.model.subscriber_messages import StoreFailed
from eventstore.ports.runtime import Health
from eventstore.ports.storage import Storage
from eventstore_actors.kernel.actor import SupervisedActor, answer, refuse, try_tell
from eventstore_actors.kernel.messages import (
    AskHealth,
    ChildFailed,
    ChildRestarted,
    ChildStopped,
    ChildUp,
    HistoryRewound,
    SeatKept,
    Subscribe,
    ThreadCrashed,
    Unsubscribe,
)
from eventstore_actors.state.store_state import Phase, StoreState, health_of, share_state
from eventstore_actors.supervising.children import Children
from eventstore_actors.supervising.opener import Opener, StorageOpened, StorageRefused
from eventstore_actors.supervising.services import RestartService
from eventstore_actors.supervising.subscriptions import RestartSubscription
from eventstore_actors.supervising.threads import LookAtThreads

__all__ = ["StoreSupervisor"]

log = get_logger()

_FAILURE_GRACE = 2.0
"""Seconds that the children get to end when the store fails."""


class StoreSupervisor(SupervisedActor):
    """Runs a store inside an application's own tree of pykka actors.

    ``StoreSupervisor.start(config, parent=ref)`` does no I/O and never fails; connect to it by
    ``EventStore.attach``. It retries until the database can be reached. A child that crashes is
    restarted and goes on from the state in the storage. If one of writer, publisher and keeper
    crashes more than `Config.max_restarts` times within `Config.restart_window`, or if the schema
    is wrong, or the server does not let it in at the start, the store stops and *parent* is sent
    `StoreFailed`. A stop waits for the acknowledgements of events in flight, up to
    `Config.stop_timeout`.
    """

    def __init__(
        self,
        config: Config,
        parent: pykka.ActorRef[Any] | None = None,
        *,
        init: bool | None = None,
        open_timeout: float | None = None,
        pool: object | None = None,
        beside: Storage | None = None,
    ) -> None:
        """Create it; see the class.

        Args:
            config: The settings of the store.
            parent: Is sent `StoreFailed` when the supervisor gives up.
            init: Install or migrate the schema if needed. Defaults to True for ``embedded:`` and
                ``memory:``, else to False.
            open_timeout: Seconds after which an unreachable database is a failure.
                Defaults to None: retry without a limit.
            pool: A `psycopg_pool.ConnectionPool` of the application to read by; it stays open.
                Defaults to one of the store's own.
            beside: An open storage of the same database, whose connections are shared.
                Defaults to connections of its own.
        """
        super().__init__("supervisor", None)
        self._config = config
        self._parent = parent
        self._tree = StoreState(config)
        share_state(self.actor_ref, self._tree)
        self._opener = Opener(
            self._tree,
            self.actor_ref,
            init=init,
            give_up_after=open_timeout,
            pool=pool,
            beside=beside,
        )
        self._children: Children | None = None
        self._stop_at: float | None = None
        self._waits_for_acks = True
        self._failure: BaseException | None = None

    # ── messages ─────────────────────────────────────────────────────────────────────────────

    def setup(self) -> None:
        self._opener.start()

    def receive(self, message: Any) -> None:
        match message:
            case StorageOpened(storage):
                self._start_children(storage)
            case StorageRefused(error) | HistoryRewound(error):
                self._give_up(error)
            case AskHealth(reply):
                answer(reply, self._health())
            case _ if self._children is not None:
                self._receive_when_open(message, self._children)
            case _:
                raise TypeError(f"unexpected message: {shown(message)}")

    def _receive_when_open(self, message: Any, children: Children) -> None:
        """Handle the messages that come only while the storage is open."""
        match message:
            case ChildUp(urn):
                self._child_up(urn, children)
            case ChildFailed(urn, error):
                self._child_failed(urn, error, children)
            case ChildStopped(urn, error):
                self._child_stopped(urn, error, children)
            case RestartService(child):
                children.permanent.start(child)
            case LookAtThreads():
                children.threads.look()
            case ThreadCrashed():
                self._thread_crashed(message, children)
            case RestartSubscription() | Subscribe() | Unsubscribe() | SeatKept():
                children.seats.receive(message)
            case _:
                raise TypeError(f"unexpected message: {shown(message)}")

    def undelivered(self, message: Any) -> None:
        match message:
            case StorageOpened(storage):
                storage.close()
            case Subscribe() | Unsubscribe():
                refuse(message.reply, self._tree.reason())

    # ── starting and restarting ──────────────────────────────────────────────────────────────

    def _start_children(self, storage: Storage) -> None:
        self._tree.opened(storage)
        try:
            self._children = Children(self._tree, storage, self.actor_ref)
        except BaseException:
            storage.close()
            raise
        self._children.start()

    def _child_up(self, urn: str, children: Children) -> None:
        child = children.permanent.child_of(urn)
        if child is None:
            return
        if children.permanent.up(child):
            children.seats.tell_all(ChildRestarted(child))
        if children.permanent.are_up:
            self._tree.advance_to(Phase.UP)

    def _child_failed(self, urn: str, error: BaseException, children: Children) -> None:
        child = children.permanent.child_of(urn)
        if child is None:
            children.seats.crashed(urn, error)
            return
        try:
            children.permanent.crashed(child, error)
        except NotRunningError as too_often:
            self._give_up(too_often)

    def _thread_crashed(self, message: ThreadCrashed, children: Children) -> None:
        try:
            children.threads.crashed(message)
        except NotRunningError as too_often:
            self._give_up(too_often)

    def _child_stopped(self, urn: str, error: BaseException | None, children: Children) -> None:
        if children.permanent.child_of(urn) is None:
            children.seats.ended(urn, error)
        elif error is not None:
            self._give_up(error)
        else:
            # All actors of the process are being stopped: the rest must not wait for acks.
            self._waits_for_acks = False
            self.finish()

    def _health(self) -> Health:
        children = self._children
        if children is None:
            return health_of(self._tree, running=False, restarts=0)
        return health_of(
            self._tree,
            running=children.permanent.are_up,
            restarts=children.restarts,
            stuck=children.threads.stuck(),
        )

    # ── ending ───────────────────────────────────────────────────────────────────────────────

    def _give_up(self, error: BaseException) -> None:
        """Stop the whole store because of *error*."""
        self._failure = error
        self.finish()

    def stopping(self, deadline: float) -> None:
        self._stop_at = deadline
        self.finish()

    def teardown(self, error: BaseException | None) -> None:
        if error is not None:
            self._failure = NotRunningError(f"the store's supervisor crashed: {error_text(error)}")
            self._failure.__cause__ = error
        if self._failure is not None:
            log.error("the store failed", error=error_text(self._failure))
            self._tree.failed(self._failure)
        self._tree.advance_to(Phase.STOPPING)
        try:
            self._stop_children(self._deadline())
        finally:
            self._tree.advance_to(Phase.STOPPED)
            if self._failure is not None:
                try_tell(self._parent, StoreFailed(self.actor_ref, self._failure))

    def _deadline(self) -> float:
        now = time.monotonic()
        if self._failure is not None or not self._waits_for_acks:
            return now + _FAILURE_GRACE
        stop_at = now + self._config.stop_timeout if self._stop_at is None else self._stop_at
        return min(stop_at, self._tree.stops_by)

    def _stop_children(self, deadline: float) -> None:
        self._opener.cancel()
        if self._children is None:
            self._opener.join(max(0.0, deadline - time.monotonic()))
            return
        acks = self._waits_for_acks and self._failure is None
        late = self._children.stop(deadline, acks=acks, reason=self._failure)
        if late:
            log.warning("actors did not end in time", actors=late)
