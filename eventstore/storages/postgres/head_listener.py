"""Learns of new events: reads them through `dsn`, by hints of a session that LISTENs or by polling.

Eyes and ears are apart. What is read never comes from where LISTEN leads to, and a look never waits
for it. Without `listen_dsn` both use one connection while there is one.
"""

from __future__ import annotations

import time

import psycopg

from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.model.log import get_logger
from eventstore.ports.listening import Heard, KnownEvent
from eventstore.storages.postgres.announce_session import OwnSessions, send_news
from eventstore.storages.postgres.background_connection import BackgroundConnection
from eventstore.storages.postgres.bell import Bell
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.connector import Connector
from eventstore.storages.postgres.connecting.lender import Lender, Result, Work
from eventstore.storages.postgres.connecting.pool import Pool
from eventstore.storages.postgres.ears import Ears
from eventstore.storages.postgres.looks import SHORTEST_LOAN, Looks
from eventstore.storages.postgres.reader import Reader
from eventstore.storages.postgres.statements import Statements

__all__ = ["PostgresHeadListener"]

_SHORTEST_HEARING = 1.0
"""Seconds for statements of the ears, also where looks are more frequent."""

_log = get_logger()


class PostgresHeadListener(Looks):
    """Waits for hints and reads the head. Used by one thread; woken and closed from any."""

    def __init__(
        self,
        statements: Statements,
        own: OwnSessions,
        *,
        connector: Connector,
        listen_connector: Connector | None,
        pool: Pool,
        readers: Lender,
        connect_timeout: float,
    ) -> None:
        """Prepare; connects later.

        Args:
            statements: The statements of the store.
            own: The sessions of this storage, whose notifications are ignored.
            connector: Connects through `dsn`; used and closed by the listener alone.
            listen_connector: Connects to where LISTEN works, if not through `dsn`; the same.
            pool: Connections through `dsn`.
            readers: Lends connections for a look while there is none of its own.
            connect_timeout: Longest time in seconds to connect, and for a look.
        """
        super().__init__(Reader(statements), connect_timeout)
        self._statements = statements
        self._pool = pool
        self._readers = readers
        self._bell = Bell()
        self._ears = Ears(statements, own, self._bell)
        self._eyes = BackgroundConnection(connector, connect_timeout, self._bell.ring)
        self._line = self._eyes
        """The connection of the ears."""
        if listen_connector is not None:
            self._line = BackgroundConnection(listen_connector, connect_timeout, self._bell.ring)
        self._closed = False
        self._woken = False
        self._prompt = True
        """Whether we want announcements; `listening` says whether they arrive."""
        self._mark = ""
        """End of the name of each session that listens to this store."""
        self._deafness_told = False

    @property
    def listening(self) -> bool:
        """Whether announcements arrive; otherwise new events are found by polling."""
        return self._ears.hearing

    def wait(
        self, timeout: float, *, prompt: bool = True, known: KnownEvent | None = None
    ) -> Heard:
        """Block until there is something new; see `HeadListener.wait`."""
        deadline = time.monotonic() + timeout
        with self._in_use:
            self._anew |= prompt is not self._prompt
            self._prompt = prompt
            while not (self._is_anew(deadline) or self._is_time(deadline)):
                pass
            return self._look(known, self._ears.take(), max(timeout, SHORTEST_LOAN))

    def wake(self) -> None:
        """Make `wait` return at once, from any thread."""
        self._woken = True
        self._bell.ring()

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Make `wait` end, and close the connections. Idempotent."""
        self._closed = True
        self._bell.ring()
        for each in (self._eyes, self._line):
            each.interrupt()
        with self._in_use:
            for each in (self._eyes, self._line):
                each.close()
            self._ears.attach(None)
            self._bell.close()

    # ── when to look ─────────────────────────────────────────────────────────────────────────────

    def _is_anew(self, deadline: float) -> bool:
        """Take over what has connected. Return whether to look at once."""
        if self._closed:
            raise StorageUnavailableError("the listener is closed")
        if self._eyes.advance():
            self._anew = True
            # They may see another server than before.
            self._ears.doubt()
        if self._line is not self._eyes:
            self._line.advance()
        try:
            self._listen(deadline)
        except (psycopg.Error, StorageError) as error:
            self._ears.stumble(error)
        hearing_changed = self.listening is self._last.deaf
        return (self._anew or hearing_changed) and self._eyes.settled

    def _is_time(self, deadline: float) -> bool:
        """Block until a hint, a wake-up, *deadline*, or news of a connection.

        Returns:
            Whether to look now. False: there may be a connection for it.
        """
        # Until the first attempt ends, it is likely to give a connection soon.
        settled = self._eyes.settled
        try:
            hinted = self._ears.receive(deadline, lambda: settled and self._ears.has_hints())
        except psycopg.Error as error:
            _log.info("the listening connection was lost", reason=str(error))
            self._ears.lose()
            return False
        now = time.monotonic()
        if hinted and now < self._rests_until:
            self._bell.wait(min(self._rests_until, deadline) - now)
        self._bell.clear()
        if self._eyes.current is not None or now >= deadline:
            return True
        return hinted or (settled and self._was_woken())

    def _was_woken(self) -> bool:
        woken, self._woken = self._woken, False
        return woken

    # ── the eyes ─────────────────────────────────────────────────────────────────────────────────

    def _see(self, work: Work[Result], deadline: float, patience: float | None = None) -> Result:
        """Read over the own connection, else over a lent one."""
        connection = self._eyes.current
        if connection is not None:
            try:
                return work(connection)
            except (psycopg.Error, StorageUnavailableError) as error:
                _log.info("the connection that reads new events was lost", reason=str(error))
                self._eyes.drop()
                self._attach()
                self._anew = True
        until = deadline if patience is None else min(deadline, time.monotonic() + patience)
        return self._readers.run(work, until, "reading new events failed")

    def _back(self) -> None:
        for each in (self._eyes, self._line):
            each.hurry()

    # ── the ears ─────────────────────────────────────────────────────────────────────────────────

    def _attach(self) -> None:
        """Let the ears use the connection that is theirs now, or none."""
        if self._line.current is not self._ears.connection:
            self._ears.attach(self._line.current)

    def _listen(self, until: float) -> None:
        """Listen as is wanted, and prove that the ears hear what is announced through `dsn`."""
        self._attach()
        if self._ears.connection is None:
            return
        if self._ears.must_prove:
            deadline = self._deadline_of_ears(until)
            self._ears.prove(lambda probe: self._announce(probe, deadline), until, deadline)
        if self._ears.must_attend(prompt=self._prompt):
            deadline = self._deadline_of_ears(until)
            self._ears.attend(self._mark, prompt=self._prompt, deadline=deadline)

    def _deadline_of_ears(self, until: float) -> float:
        # The eyes wait meanwhile: no longer than for their next look, or a moment.
        now = time.monotonic()
        return min(now + self._timeout, max(until, now + _SHORTEST_HEARING))

    def _announce(self, probe: str, deadline: float) -> None:
        """Announce *probe* through `dsn`; through a pooler over another connection.

        Over our own connection the pooler may choose the session that listens, and the probe comes
        back. Later announcements would arrive while the session is not ours, and be lost.
        """

        def send(connection: GuardedConnection) -> None:
            ((self._mark,),) = connection.execute(self._statements.listener_mark, (), deadline)
            send_news(connection, self._statements, probe, deadline)

        eyes = self._eyes.current
        if eyes is None or (eyes is self._ears.connection and eyes.pooled):
            # One that is made for it only later serves the next proof.
            self._pool.run_once(send, min(deadline, time.monotonic() + _SHORTEST_HEARING))
        else:
            send(eyes)

    def _tell_of_deafness(self) -> None:
        if self.listening:
            self._deafness_told = False
            return
        trouble = self._line.failure or self._ears.trouble
        if trouble is not None and not self._deafness_told:
            self._deafness_told = True
            _log.warning(f"LISTEN is deaf, new events are found by polling: {trouble}")
