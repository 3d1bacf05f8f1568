"""The supervisor of a store: starts its parts, restarts what crashes, and ends everything."""

from __future__ import annotations

import time
from typing import Any

import pykka

from eventstore.model.config import Config
from eventstore.model.errors import NotRunningError
from eventstore.model.log import get_logger
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
    Subscribe,
    Unsubscribe,
)
from eventstore_actors.state.store_state import Phase, StoreState, health_of, share_state
from eventstore_actors.supervising.children import Children
from eventstore_actors.supervising.opener import Opener, StorageOpened, StorageRefused
from eventstore_actors.supervising.services import RestartService
from eventstore_actors.supervising.subscriptions import RestartSubscription

__all__ = ["StoreSupervisor"]

log = get_logger()

_GIVING_UP = 2.0
"""Seconds that the parts have to end when the store fails."""


class StoreSupervisor(SupervisedActor):
    """Runs a store inside an application's own tree of pykka actors.

    ``StoreSupervisor.start(config, parent=ref)`` does no I/O and never fails; connect to it by
    ``EventStore.attach``. It keeps trying to reach the database. A part that crashes is started
    again where the storage says it stopped. When one crashes more than `Config.max_restarts` times
    within `Config.restart_window`, everything ends and *parent* is told `StoreFailed`; so it is
    when the schema is not the right one. Stopping it waits for acknowledgements in flight, up to
    `Config.stop_timeout`.
    """

    def __init__(
        self,
        config: Config,
        parent: pykka.ActorRef[Any] | None = None,
        *,
        init: bool = False,
        open_timeout: float | None = None,
        pool: object | None = None,
    ) -> None:
        """Create it; see the class.

        Args:
            config: The settings of the store.
            parent: Told `StoreFailed` when the supervisor gives up.
            init: Install or migrate the schema if needed.
            open_timeout: Seconds after which a database that cannot be reached is a failure.
                Defaults to None: wait for it, however long it takes.
            pool: A `psycopg_pool.ConnectionPool` of the application to read by; it stays open.
                Defaults to one of the store's own.
        """
        super().__init__("supervisor", None)
        self._config = config
        self._parent = parent
        self._tree = StoreState(config)
        share_state(self.actor_ref, self._tree)
        self._opener = Opener(
            self._tree, self.actor_ref, init=init, give_up_after=open_timeout, pool=pool
        )
        self._parts: Children | None = None
        self._stop_at: float | None = None
        self._waits_for_acks = True
        self._failure: BaseException | None = None

    # ── what it is told ──────────────────────────────────────────────────────────────────────

    def setup(self) -> None:
        self._opener.start()

    def receive(self, message: Any) -> None:
        match message:
            case StorageOpened(storage):
                self._move_in(storage)
            case StorageRefused(error) | HistoryRewound(error):
                self._give_up(error)
            case AskHealth(reply):
                answer(reply, self._health())
            case _ if self._parts is not None:
                self._received(message, self._parts)
            case _:
                raise TypeError(f"not for a supervisor: {message!r}")

    def _received(self, message: Any, parts: Children) -> None:
        """Handle what only comes when the storage is open."""
        match message:
            case ChildUp(urn):
                self._child_up(urn, parts)
            case ChildFailed(urn, error):
                self._child_failed(urn, error, parts)
            case ChildStopped(urn, error):
                self._child_stopped(urn, error, parts)
            case RestartService(child):
                parts.permanent.start(child)
            case RestartSubscription():
                parts.seats.restart(message)
            case Subscribe():
                parts.seats.subscribe(message)
            case Unsubscribe():
                parts.seats.unsubscribe(message)
            case _:
                raise TypeError(f"not for a supervisor: {message!r}")

    def undelivered(self, message: Any) -> None:
        match message:
            case StorageOpened(storage):
                storage.close()
            case Subscribe() | Unsubscribe():
                refuse(message.reply, self._tree.reason())

    # ── starting and restarting ──────────────────────────────────────────────────────────────

    def _move_in(self, storage: Storage) -> None:
        self._tree.opened(storage)
        try:
            self._parts = Children(self._tree, storage, self.actor_ref)
        except BaseException:
            storage.close()
            raise
        self._parts.start()

    def _child_up(self, urn: str, parts: Children) -> None:
        child = parts.permanent.child_of(urn)
        if child is None:
            return
        if parts.permanent.up(child):
            parts.seats.tell_all(ChildRestarted(child))
        if parts.permanent.are_up:
            self._tree.reached(Phase.UP)

    def _child_failed(self, urn: str, error: BaseException, parts: Children) -> None:
        child = parts.permanent.child_of(urn)
        if child is None:
            parts.seats.crashed(urn, error)
            return
        try:
            parts.permanent.crashed(child, error)
        except NotRunningError as too_often:
            self._give_up(too_often)

    def _child_stopped(self, urn: str, error: BaseException | None, parts: Children) -> None:
        if parts.permanent.child_of(urn) is None:
            parts.seats.ended(urn, error)
        elif error is not None:
            self._give_up(error)
        else:
            # Somebody stops every actor of the process: what is left must not wait for acks.
            self._waits_for_acks = False
            self.finish()

    def _health(self) -> Health:
        parts = self._parts
        if parts is None:
            return health_of(self._tree, running=False, restarts=0)
        return health_of(self._tree, running=parts.permanent.are_up, restarts=parts.restarts)

    # ── ending ───────────────────────────────────────────────────────────────────────────────

    def _give_up(self, error: BaseException) -> None:
        """End everything, loudly: nothing stays half alive."""
        self._failure = error
        self.finish()

    def stopping(self, deadline: float) -> None:
        self._stop_at = deadline
        self.finish()

    def teardown(self, error: BaseException | None) -> None:
        if error is not None:
            self._failure = NotRunningError(f"the store's supervisor crashed: {error!r}")
            self._failure.__cause__ = error
        if self._failure is not None:
            log.error("the store failed", error=repr(self._failure))
            self._tree.failed(self._failure)
        self._tree.reached(Phase.STOPPING)
        try:
            self._end_everything(self._deadline())
        finally:
            self._tree.reached(Phase.STOPPED)
            if self._failure is not None:
                try_tell(self._parent, StoreFailed(self.actor_ref, self._failure))

    def _deadline(self) -> float:
        now = time.monotonic()
        if self._failure is not None or not self._waits_for_acks:
            return now + _GIVING_UP
        return now + self._config.stop_timeout if self._stop_at is None else self._stop_at

    def _end_everything(self, deadline: float) -> None:
        self._opener.cancel()
        if self._parts is None:
            self._opener.join(max(0.0, deadline - time.monotonic()))
            return
        acks = self._waits_for_acks and self._failure is None
        late = self._parts.end(deadline, acks=acks, reason=self._failure)
        if late:
            log.warning("did not end in time", actors=late)
