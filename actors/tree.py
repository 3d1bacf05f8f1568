"""What a supervisor shares with the callers of its store: is it up, did it fail, who is there."""

from __future__ import annotations

import threading
from enum import Enum
from weakref import WeakKeyDictionary

from actors.directory import Directory
from actors.messages import Ref
from eventstore.config import Config
from eventstore.errors import NotRunningError, StorageUnavailableError
from eventstore.storage import Storage
from eventstore.subscription import Subscription

__all__ = ["Phase", "Tree", "tree_of"]


class Phase(Enum):
    """How far the life of a supervisor has come; it never goes back."""

    OPENING = "opening"
    UP = "up"
    STOPPING = "stopping"
    STOPPED = "stopped"


_ORDER = list(Phase)

Key = tuple[str, str]
"""A stream's id, or ``$all``, and a subscription's name."""


class Tree:
    """Written by the supervisor, read from any thread, and still there when everything ended."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.directory = Directory()
        self._changed = threading.Condition()
        self._phase = Phase.OPENING
        self._storage: Storage | None = None
        self._failure: BaseException | None = None
        self._away: StorageUnavailableError | None = None
        self._handles: dict[Key, Subscription] = {}

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def failure(self) -> BaseException | None:
        """Why the supervisor gave up."""
        return self._failure

    @property
    def storage(self) -> Storage:
        """The storage in use.

        Raises:
            NotRunningError: It was never opened.
        """
        if self._storage is None:
            raise NotRunningError("the storage is not open")
        return self._storage

    def check(self) -> None:
        """Return if calls are taken.

        Raises:
            NotRunningError: The store is not up, or was stopped.
            BaseException: Whatever made the supervisor give up.
        """
        if self._phase is not Phase.UP:
            raise self._reason()

    def handle(self, key: Key) -> Subscription | None:
        """Return the handle of a subscription that runs here."""
        return self._handles.get(key)

    def wait_up(self, timeout: float) -> None:
        """Block until the store can be used.

        Raises:
            StorageUnavailableError: Not within *timeout* seconds.
            BaseException: Whatever made the supervisor give up.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._phase is not Phase.OPENING, timeout)
            if self._phase is not Phase.UP:
                raise self._reason()

    def wait_stopped(self, timeout: float | None) -> bool:
        """Block until everything ended; False if it did not within *timeout* seconds.

        Raises:
            BaseException: Whatever made the supervisor give up.
        """
        with self._changed:
            ended = self._changed.wait_for(lambda: self._phase is Phase.STOPPED, timeout)
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return ended

    # ── for the supervisor ───────────────────────────────────────────────────────────────────

    def opened(self, storage: Storage) -> None:
        self._storage = storage

    def database_away(self, error: StorageUnavailableError) -> None:
        """Keep what an attempt to open the storage failed with; there will be more of them."""
        self._away = error

    def failed(self, error: BaseException) -> None:
        with self._changed:
            self._failure = error
        self.reached(Phase.STOPPING)

    def reached(self, phase: Phase) -> None:
        with self._changed:
            if _ORDER.index(phase) > _ORDER.index(self._phase):
                self._phase = phase
            self._changed.notify_all()

    def add_handle(self, key: Key, handle: Subscription) -> None:
        self._handles[key] = handle

    def remove_handle(self, key: Key) -> None:
        self._handles.pop(key, None)

    def _reason(self) -> BaseException:
        if self._failure is not None:
            # The same error is raised in many threads: each sees its own way to it.
            return self._failure.with_traceback(None)
        if self._phase is Phase.OPENING:
            return self._not_up()
        return NotRunningError("the store is closed")

    def _not_up(self) -> StorageUnavailableError:
        away = f": {self._away}" if self._away else ""
        error = StorageUnavailableError(f"the store is not up yet{away}")
        error.__cause__ = self._away
        return error


_trees: WeakKeyDictionary[Ref, Tree] = WeakKeyDictionary()


def plant(supervisor: Ref, tree: Tree) -> None:
    """Remember what *supervisor* shares, for as long as anybody holds its reference."""
    _trees[supervisor] = tree


def tree_of(supervisor: Ref) -> Tree | None:
    """Return what *supervisor* shares, whether it lives or not; None: it is no supervisor."""
    return _trees.get(supervisor)
