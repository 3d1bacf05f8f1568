"""The state of a store that its supervisor shares with callers: phase, failure, subscriptions."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from enum import Enum
from weakref import WeakKeyDictionary

from eventstore.model.config import Config
from eventstore.model.errors import EventStoreError, NotRunningError, StorageUnavailableError
from eventstore.ports.runtime import Health
from eventstore.ports.storage import Storage
from eventstore_actors.kernel.messages import Ref
from eventstore_actors.state.announcements import Announcements
from eventstore_actors.state.append_queue import QueueLimit
from eventstore_actors.state.commit_turn import CommitTurn
from eventstore_actors.state.context import Directory
from eventstore_actors.state.recent_events import RecentEvents
from eventstore_actors.state.subscription_handle import SubscriptionHandle

__all__ = ["Phase", "StoreState", "health_of", "state_of"]


class Phase(Enum):
    """Phase in the life of a supervisor; it only moves forward."""

    OPENING = "opening"
    UP = "up"
    STOPPING = "stopping"
    STOPPED = "stopped"


_ORDER = list(Phase)

Key = tuple[str, str]
"""A stream's id, or ``$all``, and a subscription's name."""


class StoreState:
    """State of a store. The supervisor writes it, any thread reads it; it outlives the actors."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.directory = Directory()
        self.recent = RecentEvents()
        self.announcements = Announcements(config.poll_interval)
        self.turn = CommitTurn()
        self.queue = QueueLimit(config.max_queued_appends, config.max_queued_bytes)
        self._changed = threading.Condition()
        self._phase = Phase.OPENING
        self._storage: Storage | None = None
        self._failure: BaseException | None = None
        self._away: StorageUnavailableError | None = None
        self._stop_by = math.inf
        self._handles: dict[Key, SubscriptionHandle] = {}
        self._given_up: dict[Key, SubscriptionHandle] = {}
        self._subscribers: dict[Key, object] = {}

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def failure(self) -> BaseException | None:
        """The error that made the supervisor give up."""
        return self._failure

    @property
    def is_open(self) -> bool:
        """The storage was opened, and is in use."""
        return (
            self._storage is not None and self._failure is None and self._phase is not Phase.STOPPED
        )

    @property
    def storage(self) -> Storage:
        """The storage in use.

        Raises:
            StorageUnavailableError: It is not open yet.
            NotRunningError: The store is closed.
            BaseException: The error that made the supervisor give up.
        """
        if self._storage is None or not self.is_open:
            raise self.reason()
        return self._storage

    def check(self) -> None:
        """Return if the store is up.

        Raises:
            StorageUnavailableError: It is not up yet.
            NotRunningError: It is closed.
            BaseException: The error that made the supervisor give up.
        """
        if self._phase is not Phase.UP:
            raise self.reason()

    def reason(self) -> BaseException:
        """Return the error for calls to a store that is not up."""
        if self._failure is not None:
            # Many threads raise the same error: each gets a traceback of its own.
            return self._failure.with_traceback(None)
        if self._phase is Phase.OPENING:
            return self._not_up()
        return NotRunningError("the store is closed")

    def handle(self, key: Key) -> SubscriptionHandle | None:
        """Return the handle of a subscription that runs here."""
        return self._handles.get(key)

    def handles(self) -> list[SubscriptionHandle]:
        """Return the handles of all subscriptions that run here."""
        return list(self._handles.values())

    def all_handles(self) -> list[SubscriptionHandle]:
        """Return the handles of all subscriptions that run here, or gave up."""
        return [*self._handles.values(), *self._given_up.values()]

    def given_up(self, *, any_subscription: bool) -> EventStoreError | None:
        """Return why the subscriptions gave up; None while one runs, and if none ever gave up.

        Args:
            any_subscription: Return why the first one gave up, also while others run.
        """
        with self._changed:
            if self._phase is not Phase.UP or (self._handles and not any_subscription):
                return None
            return next((handle.reason for handle in self._given_up.values()), None)

    def has_subscriber(self, candidate: object) -> bool:
        """Return whether *candidate*, an actor's reference or a callable, is subscribed here."""
        return any(candidate is each for each in list(self._subscribers.values()))

    def wait_up(self, timeout: float) -> None:
        """Block until the store is up.

        Raises:
            StorageUnavailableError: It was not up within *timeout* seconds.
            BaseException: The error that made the supervisor give up.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._phase is not Phase.OPENING, timeout)
            if self._phase is not Phase.UP:
                raise self.reason()

    def wait_ended(self, timeout: float | None, let_go: Callable[[], bool] = bool) -> bool:
        """Block until everything has ended, or *let_go* is true after a `nudge`.

        Returns:
            False if neither happened within *timeout* seconds.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._phase is Phase.STOPPED or let_go(), timeout)

    def nudge(self) -> None:
        """Make all waiting threads check their condition again."""
        with self._changed:
            self._changed.notify_all()

    def stop_by(self, deadline: float) -> bool:
        """Note when everything has to have ended, on `time.monotonic`.

        Returns:
            Whether that is sooner than noted before.
        """
        with self._changed:
            sooner = deadline < self._stop_by < math.inf
            self._stop_by = min(self._stop_by, deadline)
        return sooner

    @property
    def stops_by(self) -> float:
        """The soonest moment by which everything has to have ended; infinity: none was noted."""
        return self._stop_by

    # ── for the supervisor ───────────────────────────────────────────────────────────────────

    def opened(self, storage: Storage) -> None:
        self._storage = storage

    def database_away(self, error: StorageUnavailableError) -> None:
        """Keep the error of an attempt to open the storage; more attempts follow."""
        self._away = error

    def failed(self, error: BaseException) -> None:
        with self._changed:
            self._failure = error
        self.advance_to(Phase.STOPPING)

    def advance_to(self, phase: Phase) -> None:
        with self._changed:
            if _ORDER.index(phase) > _ORDER.index(self._phase):
                self._phase = phase
            self._changed.notify_all()

    def add_subscription(self, key: Key, handle: SubscriptionHandle, subscriber: object) -> None:
        with self._changed:
            self._given_up.pop(key, None)
            self._handles[key] = handle
            self._subscribers[key] = subscriber

    def remove_subscription(self, key: Key, *, gave_up: bool) -> None:
        """Note the end of a subscription; one that *gave_up* stays visible."""
        with self._changed:
            self._subscribers.pop(key, None)
            handle = self._handles.pop(key, None)
            if gave_up and handle is not None:
                self._given_up[key] = handle
            self._changed.notify_all()

    def forget_given_up(self, key: Key, handle: object | None) -> bool:
        """Forget a subscription that gave up, if it has *handle*; None: whatever its handle is.

        Returns:
            Whether there was one.
        """
        with self._changed:
            known = self._given_up.get(key)
            if known is None or handle not in {None, known}:
                return False
            del self._given_up[key]
        return True

    def _not_up(self) -> StorageUnavailableError:
        away = f": {self._away}" if self._away else ""
        error = StorageUnavailableError(f"the store is not up yet{away}")
        error.__cause__ = self._away
        return error


_trees: WeakKeyDictionary[Ref, StoreState] = WeakKeyDictionary()


def share_state(supervisor: Ref, tree: StoreState) -> None:
    """Register the state of *supervisor* for as long as its reference is held."""
    _trees[supervisor] = tree


def state_of(supervisor: Ref) -> StoreState | None:
    """Return the state of *supervisor*, alive or dead; None if it is not a supervisor."""
    return _trees.get(supervisor)


def health_of(
    tree: StoreState, *, running: bool, restarts: int, stuck: tuple[str, ...] = ()
) -> Health:
    """Return the health of a store.

    Args:
        tree: The state that its supervisor shares.
        running: Whether every permanent child is up.
        restarts: Restarts of all its children and threads since the start.
        stuck: Names of the threads that do not go on.
    """
    return Health(
        running=running and not stuck,
        stuck=stuck,
        database_reachable=tree.is_open and not tree.recent.away,
        head=tree.recent.head,
        queued_appends=tree.queue.queued_appends,
        queued_bytes=tree.queue.queued_bytes,
        restarts=restarts,
        listening=running and tree.recent.listening and not tree.recent.deaf,
        subscriptions=tuple(handle.health() for handle in tree.all_handles()),
        failure=None if tree.failure is None else str(tree.failure),
    )
