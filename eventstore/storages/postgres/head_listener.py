"""The connection that learns of new events by LISTEN, and by looking where that is deaf."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import psycopg

from eventstore.model.errors import StorageUnavailableError
from eventstore.model.log import get_logger
from eventstore.model.names import ALL_STREAMS
from eventstore.ports.storage import Heard, StoredEvent
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.connector import Connector
from eventstore.storages.postgres.connecting.sqlstates import translated
from eventstore.storages.postgres.reader import Reader
from eventstore.storages.postgres.statements import Statements

__all__ = ["Bell", "PostgresHeadListener"]

_Selector = getattr(selectors, "PollSelector", selectors.DefaultSelector)
"""Without a file of its own in the kernel: a third of the cost, and it is paid per commit."""


class Bell:
    """Rings until it is cleared."""

    def __init__(self) -> None:
        self._rope, self._clapper = socket.socketpair()
        self._rope.setblocking(False)
        self._clapper.setblocking(False)

    def ring(self) -> None:
        # Full: it rings already. Closed: nobody waits.
        with contextlib.suppress(OSError):
            self._rope.send(b"!")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._clapper.recv(1024):
                pass

    def wait(self, timeout: float, other: int | None = None) -> tuple[bool, bool]:
        """Block at most *timeout* seconds; tell whether it rings and whether *other* has news.

        Args:
            timeout: Seconds; 0 or less only looks.
            other: File number of a socket to wait for as well.
        """
        with _Selector() as selector:
            selector.register(self._clapper, selectors.EVENT_READ)
            if other is not None:
                selector.register(other, selectors.EVENT_READ)
            ready = {key.fd for key, _ in selector.select(max(0.0, timeout))}
        return self._clapper.fileno() in ready, other in ready

    def close(self) -> None:
        self._rope.close()
        self._clapper.close()


_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5
_PROBE_TIMEOUT = 1.0
_LOOK_TIMEOUT = 1.0

_log = get_logger()


@dataclass(slots=True)
class _News:
    """What arrived on the channel and was not told yet."""

    head: int | None = None
    fallen: int | None = None
    """A head that was announced though it is not above the one before."""
    touched: bool = False
    probes: set[str] = field(default_factory=set)

    def take_in(self, payload: str, known: int) -> None:
        """A number is a head, ``p`` starts somebody's probe, ``s`` a subscription's number."""
        if payload.isdigit():
            self._take_in_head(int(payload), known)
        elif payload.startswith("p"):
            self.probes.add(payload)
        else:
            self.touched = True

    def _take_in_head(self, head: int, known: int) -> None:
        """Commits are announced in their order: each head is above the one before."""
        if head > (known if self.head is None else self.head):
            self.head = head
        else:
            self.fallen = head if self.fallen is None else min(head, self.fallen)

    def any(self) -> bool:
        return self.touched or self.head is not None or self.fallen is not None

    def above(self, head: int) -> _News:
        """Return what is news to who knows *head*."""
        return _News(self.head if (self.head or 0) > head else None)

    def rest(self) -> _News:
        """Return what is left when what fell was told."""
        return _News(self.head, touched=self.touched)


class PostgresHeadListener:
    """Blocks until something was announced. Used by one thread; woken and closed from any.

    LISTEN counts as working only after its own probe came back: through a pooler it succeeds, and
    stays deaf. Then the head is read at every timeout, and a delay is all that is lost.
    """

    def __init__(self, connector: Connector, reader: Reader, statements: Statements) -> None:
        self._connector = connector
        self._reader = reader
        self._statements = statements
        self._connection: GuardedConnection | None = None
        self._news = _News()
        self._head = 0
        self._bell = Bell()
        self._in_use = threading.Lock()
        self._prompt = True
        """Announcements are sent to us, as far as `listening`."""
        self._closed = False
        self.listening = False
        """Announcements arrive; False: new events are found by looking."""

    def wait(self, timeout: float, *, prompt: bool = True) -> Heard:
        """Block until there is news; see `HeadListener.wait`."""
        deadline = time.monotonic() + timeout
        with self._in_use:
            if self._closed:
                raise StorageUnavailableError("the listener is closed")
            changed, self._prompt = prompt is not self._prompt, prompt
            if self._connection is not None:
                try:
                    if changed:
                        self._attend(self._connection, time.monotonic() + _LOOK_TIMEOUT)
                        return self._heard(reconnected=True)
                    return self._waited(self._connection, deadline)
                except (psycopg.Error, StorageUnavailableError) as error:
                    _log.info("the listening connection was lost", reason=str(error))
                    self._drop()
            self._connect(deadline)
            return self._heard(reconnected=True)

    def read_all(
        self, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        """Read new events on this connection; see `HeadListener.read_all`."""
        with self._in_use:
            if self._connection is None:
                raise StorageUnavailableError("the listener is not connected")
            try:
                return self._reader.after(
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
        """Make `wait` end, and close. Harmless when repeated."""
        self._closed = True
        self._bell.ring()
        connection = self._connection
        if connection is not None:
            connection.interrupt()
        with self._in_use:
            self._drop()
            self._bell.close()

    # ── connected ────────────────────────────────────────────────────────────────────────────────

    def _waited(self, connection: GuardedConnection, deadline: float) -> Heard:
        arrived = self._receive(connection, deadline, self._news.any)
        newest = None
        if not arrived and not self._bell_rang():
            newest = self._look(connection, time.monotonic() + _LOOK_TIMEOUT)
        return self._heard(reconnected=False, newest=newest)

    def _look(self, connection: GuardedConnection, deadline: float) -> UUID | None:
        """Read the head; return which event is there."""
        newest: UUID | None
        self._head, newest = connection.execute(self._statements.newest, (), deadline)[0]
        return newest

    def _heard(self, *, reconnected: bool, newest: UUID | None = None) -> Heard:
        news, self._news = self._news, _News()
        deaf = not self.listening
        if news.fallen is not None:
            self._news = news.rest()
            return Heard(news.fallen, touched=False, reconnected=reconnected, deaf=deaf)
        if news.head is not None:
            self._head, newest = news.head, None
        return Heard(self._head, news.touched, reconnected, deaf, newest)

    def _receive(
        self, connection: GuardedConnection, deadline: float, enough: Callable[[], bool]
    ) -> bool:
        """Take in announcements until *enough*; False if the bell or *deadline* came first."""
        while not enough():
            left = deadline - time.monotonic()
            rings, readable = self._bell.wait(left, connection.raw.fileno())
            if readable:
                connection.raw.pgconn.consume_input()
                while notify := connection.raw.pgconn.notifies():
                    self._hear(notify.relname.decode(), notify.extra.decode())
            elif rings or left <= 0:
                return False
        return True

    def _hear(self, channel: str, payload: str) -> None:
        # A session that a pooler lent to others may still listen to their channels.
        if channel == self._statements.channel:
            self._news.take_in(payload, self._head)

    def _bell_rang(self) -> bool:
        rang, _ = self._bell.wait(0)
        self._bell.clear()
        return rang

    # ── connecting ───────────────────────────────────────────────────────────────────────────────

    def _connect(self, deadline: float) -> None:
        """Connect until *deadline*; the bell ends it, too."""
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

    def _try_to_connect(self, deadline: float) -> None:
        if self._closed:
            raise StorageUnavailableError("the listener is closed")
        connection = self._connection = self._connector.connect(deadline)
        connection.raw.add_notify_handler(lambda notify: self._hear(notify.channel, notify.payload))
        try:
            self._listen(connection, deadline)
        except psycopg.Error as error:
            self._drop()
            raise translated(error, "listening failed") from error
        except BaseException:
            self._drop()
            raise

    def _listen(self, connection: GuardedConnection, deadline: float) -> None:
        connection.execute(self._statements.listen, (), deadline)
        self.listening = self._probe_returns(connection, deadline)
        self._attend(connection, deadline)

    def _attend(self, connection: GuardedConnection, deadline: float) -> None:
        """Have announcements sent to us if they are wanted, and read the head."""
        wanted = self._statements.listen if self._prompt else self._statements.unlisten
        connection.execute(wanted, (), deadline)
        # After LISTEN: whatever is committed from here on is announced, and some of that arrives
        # together with the head. What was announced until now is no news.
        self._news, self._head = _News(), 0
        self._look(connection, deadline)
        self._news = self._news.above(self._head)

    def _probe_returns(self, connection: GuardedConnection, deadline: float) -> bool:
        probe = f"p{uuid4()}"
        self._announce(probe, connection, deadline)
        until = min(deadline, time.monotonic() + _PROBE_TIMEOUT)
        returned = self._receive(connection, until, lambda: probe in self._news.probes)
        if not returned:
            _log.warning(
                "LISTEN is deaf, new events are found by polling; is there a pooler in between?"
                " Config(listen_dsn=...) can go around it"
            )
        return returned

    def _announce(self, probe: str, connection: GuardedConnection, deadline: float) -> None:
        """Send *probe*; through a pooler over another client connection.

        On our own the statement may get the session that listens, by chance, and the probe comes
        back with its answer; later announcements come while the session is not ours, and are lost.
        """
        notify = (self._statements.notify, (self._statements.channel, probe), deadline)
        if not connection.pooled:
            connection.execute(*notify)
            return
        another = self._connector.connect(deadline)
        try:
            another.execute(*notify)
        finally:
            another.close()

    def _drop(self) -> None:
        self.listening = False
        self._news = _News()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
