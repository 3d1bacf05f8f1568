"""The thread that opens the storage, so that the supervisor does not block."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from eventstore.client.targets import installs, storage_for
from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.ports.storage import Storage
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Ref
from eventstore_actors.state.store_state import StoreState

__all__ = ["Opener", "StorageOpened", "StorageRefused"]

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class StorageOpened:
    """From the opener to the supervisor: the storage is open; the supervisor has to close it."""

    storage: Storage


@dataclass(frozen=True, slots=True)
class StorageRefused:
    """From the opener to the supervisor: the storage cannot be opened, and there is no retry."""

    error: BaseException


class Opener(threading.Thread):
    """Opens the storage; retries while it cannot be reached."""

    def __init__(
        self,
        tree: StoreState,
        supervisor: Ref,
        *,
        init: bool | None,
        give_up_after: float | None,
        pool: object | None,
        beside: Storage | None = None,
    ) -> None:
        """Prepare; `start` begins to open.

        Args:
            tree: Keeps the last error for callers that wait.
            supervisor: Gets the result.
            init: Install or migrate the schema; None: if the store is private.
            give_up_after: Seconds after which an unreachable storage is a failure; None: never.
            pool: The application's own pool to read by, if any.
            beside: An open storage whose connections are shared, if any.
        """
        super().__init__(name="eventstore-opener", daemon=True)
        self._tree = tree
        self._supervisor = supervisor
        self._init = installs(tree.config, init)
        self._give_up_after = give_up_after
        self._pool = pool
        self._beside = beside
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Stop opening; a storage that is opened after this is closed by this thread."""
        self._cancelled.set()

    def run(self) -> None:
        try:
            self._hand_over(
                storage_for(
                    self._tree.config, pool=self._pool, create=self._init, beside=self._beside
                )
            )
        except BaseException as error:  # noqa: BLE001 - the supervisor decides what it means
            try_tell(self._supervisor, StorageRefused(error))

    def _hand_over(self, storage: Storage) -> None:
        """Open *storage* and give it to the supervisor, else close it."""
        handed = False
        try:
            handed = self._open(storage) and try_tell(self._supervisor, StorageOpened(storage))
        finally:
            if not handed:
                storage.close()

    def _open(self, storage: Storage) -> bool:
        """Open *storage*; return False if cancelled."""
        patience = self._give_up_after
        give_up_at = None if patience is None else time.monotonic() + patience
        pause = _FIRST_PAUSE
        while not self._cancelled.is_set():
            try:
                storage.open(init=self._init, deadline=give_up_at or self._attempt_deadline())
            except StorageUnavailableError as error:
                self._tree.database_away(error)
                if give_up_at is not None and time.monotonic() + pause >= give_up_at:
                    raise
                self._cancelled.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return True
        return False

    def _attempt_deadline(self) -> float:
        return time.monotonic() + opening_time(self._tree.config, init=self._init)


def opening_time(config: Config, *, init: bool) -> float:
    """Return the seconds that opening a reachable storage may take."""
    return config.connect_timeout + (config.migration_lock_timeout if init else 0.0)
