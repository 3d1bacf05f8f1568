"""The connection that learns of new events: by LISTEN, or by polling where LISTEN is deaf."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import psycopg
from psycopg.pq import PGnotify

from eventstore.model.errors import StorageUnavailableError
from eventstore.model.log import get_logger
from eventstore.model.names import ALL_STREAMS
from eventstore.ports.storage import Heard
from eventstore.ports.stored_events import StoredEvent
from eventstore.storages.postgres.announce_session import OwnSessions, send_news
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.connector import Connector
from eventstore.storages.postgres.connecting.sqlstates import translated
from eventstore.storages.postgres.reader import Reader
from eventstore.storages.postgres.statements import Statements

__all__ = ["Bell", "PostgresHeadListener"]

_Selector = getattr(selectors, "PollSelector", selectors.DefaultSelector)
"""Needs no kernel object as epoll does: a third of the cost, which is paid per commit."""


class Bell:
    """Wakes a thread that waits on a socket. Rings until it is cleared."""

    def __init__(self) -> None:
        self._writer, self._reader = socket.socketpair()
        self._writer.setblocking(False)
        self._reader.setblocking(False)

    def ring(self) -> None:
        # A full socket rings already; a closed one has no waiter.
        with contextlib.suppress(OSError):
            self._writer.send(b"!")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(1024):
                pass

    def wait(
        self, timeout: float, other: int | None = None, *, heed_bell: bool = True
    ) -> tuple[bool, bool]:
        """Block until the bell rings or *other* is readable.

        Args:
            timeout: Longest wait in seconds. With 0 or less it does not block.
            other: File number of a socket to wait for as well.
            heed_bell: Whether to wait for the bell. False: only for *other*.

        Returns:
            Whether the bell rings, and whether *other* is readable.
        """
        with _Selector() as selector:
            if heed_bell:
                selector.register(self._reader, selectors.EVENT_READ)
            if other is not None:
                selector.register(other, selectors.EVENT_READ)
            ready = {key.fd for key, _ in selector.select(max(0.0, timeout))}
        return self._reader.fileno() in ready, other in ready

    def close(self) -> None:
        self._writer.close()
        self._reader.close()


_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5
_PROBE_TIMEOUT = 1.0
_LOOK_TIMEOUT = 3.0

_log = get_logger()


@dataclass(slots=True)
class _News:
    """Notifications that were received and not reported yet. They are hints where to look."""

    events: bool = False
    touched: set[int] = field(default_factory=set)
    probes: set[str] = field(default_factory=set)

    def take_in(self, payload: str) -> None:
        """Record a payload: ``s`` and subscription ids, ``p`` and a probe; others mean events."""
        if _PROBE.fullmatch(payload):
            self.probes.add(payload)
        elif _SUBSCRIPTIONS.fullmatch(payload):
            self.touched.update(map(int, payload[1:].split(",")))
        else:
            self.events = True

    def any(self) -> bool:
        return self.events or bool(self.touched)


_PROBE = re.compile(r"p[0-9a-f-]{36}", re.ASCII)
_SUBSCRIPTIONS = re.compile(r"s[0-9]{1,18}(,[0-9]{1,18})*", re.ASCII)


class PostgresHeadListener:
    """Waits for announcements and reads the head. Used by one thread; woken and closed from any.

    LISTEN counts as working only after a probe came back: through a pooler the statement succeeds,
    but no notification arrives. Then the head is read at every timeout, which costs only a delay.
    """

    def __init__(
        self,
        connector: Connector,
        reader: Reader,
        statements: Statements,
        own: OwnSessions,
    ) -> None:
        """Prepare; connects later.

        Args:
            connector: Connects to the server that sends notifications.
            reader: Reads the events.
            statements: The statements of the store.
            own: The sessions of this storage, whose notifications are ignored.
        """
        self._connector = connector
        self._events = reader
        self._statements = statements
        self._own = own
        self._connection: GuardedConnection | None = None
        self._news = _News()
        self._bell = Bell()
        self._in_use = threading.Lock()
        self._prompt = True
        """Whether we want announcements; `listening` says whether they arrive."""
        self._own_name = ""
        self._closed = False
        self.listening = False
        """Whether announcements arrive; otherwise new events are found by polling."""

    def wait(self, timeout: float, *, prompt: bool = True) -> Heard:
        """Block until there is something new; see `HeadListener.wait`."""
        deadline = time.monotonic() + timeout
        with self._in_use:
            if self._closed:
                raise StorageUnavailableError("the listener is closed")
            changed, self._prompt = prompt is not self._prompt, prompt
            if self._connection is not None:
                try:
                    if changed:
                        self._attend(self._connection, time.monotonic() + _LOOK_TIMEOUT)
                    else:
                        self._receive(self._connection, deadline, self._news.any)
                        self._bell.clear()
                    return self._look(self._connection, reconnected=changed)
                except (psycopg.Error, StorageUnavailableError) as error:
                    _log.info("the listening connection was lost", reason=str(error))
                    self._drop()
            return self._connect(deadline)

    def read_all(
        self, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        """Read new events on this connection; see `HeadListener.read_all`."""
        with self._in_use:
            if self._connection is None:
                raise StorageUnavailableError("the listener is not connected")
            try:
                return self._events.after(
                    self._connection, ALL_STREAMS, after, count, max_bytes, deadline
                )
            except psycopg.Error as error:
                self._drop()
                raise translated(error, "reading new events failed") from error

    def wake(self) -> None:
        """Make `wait` return at once, from any thread."""
        self._bell.ring()

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Make `wait` end, and close the connection. Idempotent."""
        self._closed = True
        self._bell.ring()
        connection = self._connection
        if connection is not None:
            connection.interrupt()
        with self._in_use:
            self._drop()
            self._bell.close()

    # ── connected ────────────────────────────────────────────────────────────────────────────────

    def _look(self, connection: GuardedConnection, *, reconnected: bool) -> Heard:
        """Read the head. Return it with the notifications that arrived before."""
        news, self._news = self._news, _News()
        deadline = time.monotonic() + _LOOK_TIMEOUT
        row = connection.execute(self._statements.newest, (), deadline)[0]
        head, newest, deletion_no = row
        return Heard(
            head,
            reconnected=reconnected,
            touched=frozenset(news.touched),
            announced=news.events,
            deaf=not self.listening,
            newest=newest,
            deletion_no=deletion_no,
        )

    def _receive(
        self,
        connection: GuardedConnection,
        deadline: float,
        enough: Callable[[], bool],
        *,
        heed_bell: bool = True,
    ) -> bool:
        """Receive announcements until *enough*.

        Returns:
            False if the bell rang or *deadline* passed first.
        """
        while True:
            # Some may have come together with the answer to a statement.
            while notify := connection.raw.pgconn.notifies():
                self._hear(_decoded(notify))
            if enough():
                return True
            left = deadline - time.monotonic()
            rings, readable = self._bell.wait(left, connection.raw.fileno(), heed_bell=heed_bell)
            if readable:
                connection.raw.pgconn.consume_input()
            elif rings or left <= 0:
                return False

    def _hear(self, notify: psycopg.Notify) -> None:
        # A session shared through a pooler may still listen to the channels of others.
        if notify.channel == self._statements.channel and notify.pid not in self._own.announcing:
            self._news.take_in(notify.payload)

    # ── connecting ───────────────────────────────────────────────────────────────────────────────

    def _connect(self, deadline: float) -> Heard:
        """Try to connect until *deadline*, or until the bell rings."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return self._try_to_connect(deadline)
            except StorageUnavailableError as error:
                reason = error
            rings, _ = self._bell.wait(min(pause, deadline - time.monotonic()))
            self._bell.clear()
            if rings or time.monotonic() >= deadline:
                raise reason
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _try_to_connect(self, deadline: float) -> Heard:
        if self._closed:
            raise StorageUnavailableError("the listener is closed")
        connection = self._connection = self._connector.connect(deadline)
        connection.raw.add_notify_handler(self._hear)
        try:
            self._listen(connection, deadline)
            return self._look(connection, reconnected=True)
        except psycopg.Error as error:
            self._drop()
            raise translated(error, "listening failed") from error
        except BaseException:
            self._drop()
            raise

    def _listen(self, connection: GuardedConnection, deadline: float) -> None:
        status = connection.raw.pgconn.parameter_status(b"application_name") or b"eventstore"
        self._own_name = status.decode()
        connection.execute(self._statements.listen, (), deadline)
        self.listening = self._probe_returns(connection, deadline)
        self._attend(connection, deadline)

    def _attend(self, connection: GuardedConnection, deadline: float) -> None:
        """Start or stop to listen, and show in the application name whether we do.

        The caller reads the head afterwards. Later commits are announced, so earlier announcements
        are dropped.
        """
        wanted = self._statements.listen if self._prompt else self._statements.unlisten
        connection.execute(wanted, (), deadline)
        self._own.listening = {connection.raw.info.backend_pid}
        if self.listening:
            names = (self._prompt, self._own_name, self._own_name)
            connection.execute(self._statements.listening_as, names, deadline)
        self._news = _News()

    def _probe_returns(self, connection: GuardedConnection, deadline: float) -> bool:
        probe = f"p{uuid4()}"
        try:
            self._announce(probe, connection, deadline)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.ProgramLimitExceeded):
            # Somebody's commit that notifies takes long, or somebody who listens takes nothing in
            # and the queue is full. In a session of our own LISTEN works.
            return not connection.pooled
        until = min(deadline, time.monotonic() + _PROBE_TIMEOUT)
        returned = self._receive(
            connection, until, lambda: probe in self._news.probes or self._closed, heed_bell=False
        )
        if not returned:
            _log.warning(
                "LISTEN is deaf, new events are found by polling; is there a pooler in between?"
                " Config(listen_dsn=...) can go around it"
            )
        return returned

    def _announce(self, probe: str, connection: GuardedConnection, deadline: float) -> None:
        """Send *probe*; through a pooler over another client connection.

        Over our own connection the pooler may choose the session that listens, and the probe comes
        back. Later announcements would arrive while the session is not ours, and be lost.
        """
        if not connection.pooled:
            send_news(connection, self._statements, probe, deadline)
            return
        another = self._connector.connect(deadline)
        try:
            send_news(another, self._statements, probe, deadline)
        finally:
            another.close()

    def _drop(self) -> None:
        self.listening = False
        self._own.listening = set()
        self._news = _News()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _decoded(notify: PGnotify) -> psycopg.Notify:
    """Decode a notification. Anybody may send on the channel, in any encoding."""
    return psycopg.Notify(
        notify.relname.decode(errors="replace"),
        notify.extra.decode(errors="replace"),
        notify.be_pid,
    )
