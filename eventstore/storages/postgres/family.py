"""What the stores of a database share in a process: connections, and the threads below them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.model.log import get_logger
from eventstore.storages.postgres.announce_session import OwnSessions
from eventstore.storages.postgres.connecting.connect_attempt import Revive
from eventstore.storages.postgres.connecting.connector import Connector
from eventstore.storages.postgres.connecting.idle_check import IdleCheck
from eventstore.storages.postgres.connecting.pool import Pool
from eventstore.storages.postgres.connecting.precedence import Precedence
from eventstore.storages.postgres.connecting.reserve import Reserve
from eventstore.storages.postgres.connecting.service_pool import ServicePool
from eventstore.storages.postgres.connecting.watchdog import Watchdog
from eventstore.storages.postgres.shared_ears import SharedEars

__all__ = ["Crashed", "Family"]

Crashed = Callable[[str, BaseException], object]

_log = get_logger()

_IDLE = 60.0
"""Seconds after which stores beside the first one close an unused connection, or a quarter more."""


class Family:
    """The stores of several schemas of a database. Used from any thread.

    The first store has connections of its own beside the pool. Those beside it borrow one for each
    call: of a few that keep leases, and of a few for looks and announcements. One session listens
    for all of them. The store that leaves last closes everything.
    """

    def __init__(
        self,
        config: Config,
        on_close: Callable[[], object] | None,
        *,
        pool: object | None,
        revive: Revive | None,
    ) -> None:
        """Prepare, with the first store as a member; see `PostgresStorage`."""
        self._config = config
        self._on_close = on_close
        self.watchdog = Watchdog()
        self.watchdog.crashed = lambda error: self._crashed("watchdog", error)
        precedence = self.precedence = Precedence()
        self.connector = self._connector(config.dsn, precedence, revive=revive)
        self.listen_connector: Connector | None = None
        if config.listen_dsn:
            # With a precedence of its own: a failure to listen takes no connection from readers.
            self.listen_connector = self._connector(
                config.listen_dsn, Precedence(), name="listen_dsn"
            )
        self.pool = Pool(self.connector, config.pool_size, precedence, config.connect_timeout)
        self.service_pool = None if pool is None else ServicePool(pool, self.watchdog)
        self.own = OwnSessions()
        self.keeping = Reserve(self.connector)
        self.calling = Reserve(self.connector, self._doubt)
        self.unused = IdleCheck(self.watchdog, _IDLE)
        self._ears: SharedEars | None = None
        self._lock = threading.Lock()
        self._members = 1
        self._told: tuple[Crashed, ...] = ()

    def _connector(
        self, dsn: str, precedence: Precedence, *, name: str = "dsn", revive: Revive | None = None
    ) -> Connector:
        return Connector(
            dsn,
            self.watchdog,
            precedence,
            allow_unsafe_durability=self._config.allow_unsafe_durability,
            name=name,
            revive=revive,
        )

    @property
    def ears(self) -> SharedEars:
        """The session that listens for the stores beside the first; made when first needed."""
        with self._lock:
            if self._ears is None:
                self._ears = SharedEars(
                    self.own,
                    (self.listen_connector or self.connector).sibling(),
                    self.calling,
                    self._config.connect_timeout,
                    lambda error: self._crashed("ears", error),
                )
            return self._ears

    def _doubt(self) -> None:
        if self._ears is not None:
            self._ears.doubt()

    # ── members ──────────────────────────────────────────────────────────────────────────────────

    def join(self) -> None:
        """Count one more member.

        Raises:
            StorageUnavailableError: All have left.
        """
        with self._lock:
            if not self._members:
                raise StorageUnavailableError("the storage is closed")
            if self._members == 1:
                self._share()
            self._members += 1

    def _share(self) -> None:
        for reserve in (self.keeping, self.calling):
            self.unused.add(reserve)

    def leave(self, crashed: Crashed) -> bool:
        """Count one member less, which is not told of crashes any more.

        Returns:
            Whether it was the last, which has to close everything.
        """
        with self._lock:
            self._members -= 1
            self._told = tuple(each for each in self._told if each is not crashed)
            return not self._members

    def interrupt(self) -> None:
        """Make every call fail, and refuse new ones."""
        self.connector.close()
        self.pool.close()
        if self.service_pool is not None:
            self.service_pool.close()

    def close(self) -> None:
        """Close what is left after `interrupt`, once the sessions of all members are closed."""
        self.keeping.close()
        self.calling.close()
        if self._ears is not None:
            self._ears.close()
        self.watchdog.close()
        if self._on_close is not None:
            self._on_close()

    # ── threads ──────────────────────────────────────────────────────────────────────────────────

    def supervise(self, crashed: Crashed) -> None:
        """Have the crashes of the shared threads reported to one more member."""
        with self._lock:
            self._told = (*self._told, crashed)

    def check_threads(self) -> None:
        """Replace the threads that are dead; see `Storage.check_threads`."""
        if self.watchdog.replace_if_dead():
            self._crashed("watchdog", RuntimeError("its thread is dead"))
        if (thread := self.pool.replace_if_dead()) is not None:
            self._crashed("pool", RuntimeError(f"the thread {thread} is dead"))
        if self._ears is not None and self._ears.replace_if_dead():
            self._crashed("ears", RuntimeError("their thread is dead"))

    def _crashed(self, thread: str, error: BaseException) -> None:
        if not self._told:
            _log.error("thread crashed", thread=thread, error=repr(error))
        for crashed in self._told:
            crashed(thread, error)
