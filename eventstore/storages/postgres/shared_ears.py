"""The session that LISTENs for several stores of a database, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from uuid import uuid4

import psycopg

from eventstore.model.errors import StorageError
from eventstore.model.log import get_logger
from eventstore.storages.postgres.announce_session import OwnSessions, send_news
from eventstore.storages.postgres.background_connection import BackgroundConnection
from eventstore.storages.postgres.bell import Bell
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.connector import Connector
from eventstore.storages.postgres.connecting.lender import Lender
from eventstore.storages.postgres.ears import Ears
from eventstore.storages.postgres.statements import LISTENS_TO_SEVERAL, Channel
from eventstore.storages.postgres.store_ears import StoreEars

__all__ = ["SharedEars"]

_TURN = 1.0
"""Seconds between two looks at the connection, if nothing happens."""

_PAUSE = 0.1
"""Seconds after an exception that nobody expected."""

_log = get_logger()


class SharedEars:
    """Listens for stores that have joined. Used from any thread.

    A probe on a channel of its own proves that announcements arrive: the channels of all stores are
    of the same database. While it hears nothing, the stores find new events by polling.
    """

    def __init__(
        self,
        own: OwnSessions,
        connector: Connector,
        announcer: Lender,
        timeout: float,
        crashed: Callable[[BaseException], object],
    ) -> None:
        """Prepare; the first `join` starts the thread.

        Args:
            own: The sessions that all stores share; the one that listens is noted there.
            connector: Connects to where LISTEN works; used and closed by the ears alone.
            announcer: Lends connections through `dsn`, for probes.
            timeout: Longest time in seconds to connect, and for a statement.
            crashed: Called in the thread with an exception that nobody expected; it goes on.
        """
        self._announcer = announcer
        self._timeout = timeout
        self._crashed = crashed
        self._bell = Bell()
        self._probes = Channel(f"eventstore_{uuid4().hex}")
        self._ears = Ears(self._probes, own, self._bell, self._pass_on)
        self._line = BackgroundConnection(connector, timeout, self.ring)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stores: tuple[StoreEars, ...] = ()
        self._listened: dict[str, Channel] = {}
        """The channels that the session listens to."""
        self._ended = threading.Event()
        self._asked = self._doubtful = self._hurried = False
        self._deafness_told = False

    def join(self, store: StoreEars) -> None:
        """Listen for *store*, once it wants to."""
        with self._lock:
            self._stores = (*self._stores, store)
            if self._thread is None and not self._ended.is_set():
                self._start()
        self.ring()

    def leave(self, store: StoreEars) -> None:
        with self._lock:
            self._stores = tuple(each for each in self._stores if each is not store)
        self.ring()

    def ring(self) -> None:
        """Look at what the stores want, or at what has connected."""
        self._asked = True
        self._bell.ring()

    def doubt(self) -> None:
        """Prove again that announcements arrive: a connection through `dsn` was lost."""
        self._doubtful = True
        self.ring()

    def hurry(self) -> None:
        """Connect again now: the server can be reached again."""
        self._hurried = True
        self.ring()

    def tell_of_deafness(self) -> None:
        """Say once why new events are found by polling only."""
        trouble = self._line.failure or self._ears.trouble
        if trouble is not None and not self._deafness_told:
            self._deafness_told = True
            _log.warning(f"LISTEN is deaf, new events are found by polling: {trouble}")

    def replace_if_dead(self) -> bool:
        """Start the thread again if it is dead; return whether it was."""
        with self._lock:
            thread = self._thread
            if thread is None or thread.is_alive() or self._ended.is_set():
                return False
            self._start()
        return True

    def close(self) -> None:
        """End the thread, and close the connection."""
        self._ended.set()
        self._line.interrupt()
        self.ring()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()
        self._line.close()
        self._bell.close()

    # ── in the thread ────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="eventstore-ears", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._turn(time.monotonic() + _TURN)
            except BaseException as error:  # noqa: BLE001 - reported; the stores poll meanwhile
                self._crashed(error)
                self._ears.lose()
                self._ended.wait(_PAUSE)

    def _turn(self, until: float) -> None:
        """Connect, listen as the stores want, and pass on what is heard until *until*."""
        self._asked = False
        self._bell.clear()
        self._heed()
        self._line.advance()
        if self._line.current is not self._ears.connection:
            self._attach()
        if (connection := self._ears.connection) is not None:
            try:
                self._listen(connection, until)
            except (psycopg.Error, StorageError) as error:
                self._ears.stumble(error)
        self._tell_stores()
        try:
            # Announcements that never pause must not keep it from what the stores want.
            self._ears.receive(until, lambda: self._asked or time.monotonic() >= until)
        except psycopg.Error as error:
            _log.info("the listening connection was lost", reason=str(error))
            self._ears.lose()

    def _heed(self) -> None:
        """Do what other threads have asked for."""
        if self._doubtful:
            self._doubtful = False
            self._ears.doubt()
        if self._hurried:
            self._hurried = False
            self._line.hurry()

    def _attach(self) -> None:
        self._ears.attach(self._line.current)
        self._listened = {}
        for store in self._stores:
            store.note(listens=False, hears=None)

    def _listen(self, connection: GuardedConnection, until: float) -> None:
        deadline = time.monotonic() + self._timeout
        if self._ears.must_prove:
            self._ears.prove(lambda probe: self._announce(probe, deadline), until, deadline)
        wanted = {each.channel.channel: each.channel for each in self._stores if each.prompt}
        if self._ears.must_attend(prompt=bool(wanted)):
            self._ears.attend(LISTENS_TO_SEVERAL, prompt=bool(wanted), deadline=deadline)
        for name in self._listened.keys() - wanted.keys():
            connection.execute(self._listened[name].unlisten, (), deadline)
            del self._listened[name]
        for name in wanted.keys() - self._listened.keys():
            connection.execute(wanted[name].listen, (), deadline)
            self._listened[name] = wanted[name]

    def _announce(self, probe: str, deadline: float) -> None:
        self._announcer.run_once(lambda c: send_news(c, self._probes, probe, deadline), deadline)

    def _tell_stores(self) -> None:
        if self._ears.hearing:
            self._deafness_told = False
        hearing = True if self._ears.hearing else self._known_to_be_deaf()
        for store in self._stores:
            store.note(listens=store.channel.channel in self._listened, hears=hearing)

    def _known_to_be_deaf(self) -> bool | None:
        """Return False if announcements do not arrive; None if that is not known yet."""
        trouble = self._line.failure or self._ears.trouble
        return None if trouble is None else False

    def _pass_on(self, notify: psycopg.Notify) -> None:
        for store in self._stores:
            if store.channel.channel == notify.channel:
                store.hear(notify)
