"""The session that LISTENs. What it hears is a hint to look, and never becomes state."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import psycopg
from psycopg.pq import PGnotify

from eventstore.storages.postgres.announce_session import OwnSessions
from eventstore.storages.postgres.bell import Bell
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.statements import Channel

__all__ = ["Ears", "Hints"]

_PROBE_TIMEOUT = 1.0
_SHORTEST_PROBE = 0.2
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
"""Seconds between two proofs, of which the first failed."""
_MOST_TOUCHED = 10_000
"""Ids of subscriptions that are kept; the others are found by polling."""

_SILENCE = (
    "its own probe was not heard; Config(listen_dsn=...) must lead to the database of dsn, without"
    " a pooler in between"
)

_PROBE = re.compile(r"p[0-9a-f-]{36}", re.ASCII)
_SUBSCRIPTIONS = re.compile(r"s[0-9]{1,18}(,[0-9]{1,18})*", re.ASCII)


@dataclass(slots=True)
class Hints:
    """What was heard since the last look. Anybody may have said it."""

    events: bool = False
    touched: set[int] = field(default_factory=set)

    def take_in(self, payload: str) -> None:
        """Record a payload: ``s`` and subscription ids; others mean events, but for probes."""
        if _SUBSCRIPTIONS.fullmatch(payload):
            if len(self.touched) < _MOST_TOUCHED:
                self.touched.update(map(int, payload[1:].split(",")))
        elif not _PROBE.fullmatch(payload):
            self.events = True

    def any(self) -> bool:
        return self.events or bool(self.touched)


class Ears:
    """Listens on a connection. It counts as hearing only after a probe was heard.

    Through a pooler LISTEN succeeds, but nothing is heard; another database announces nothing of
    ours. Only the probe tells: it is announced where events are read, and heard here.
    """

    def __init__(
        self,
        channel: Channel,
        own: OwnSessions,
        bell: Bell,
        others: Callable[[psycopg.Notify], object] = lambda _: None,
    ) -> None:
        """Prepare; `attach` gives it a connection.

        Args:
            channel: The statements of the channel of the store.
            own: The sessions of this storage, whose notifications are ignored.
            bell: Ends `receive`.
            others: Called with what is heard on other channels. Defaults to no effect.
        """
        self._channel = channel
        self._others = others
        self._own = own
        self._bell = bell
        self._hints = Hints()
        self._own_name = ""
        self._probe: str | None = None
        self._listened = False
        """Whether LISTEN succeeded on this connection."""
        self._pause = _FIRST_PAUSE
        self._prove_at = 0.0
        self._prompt: bool | None = None
        """Whether it listens; None: `attend` is due."""
        self.connection: GuardedConnection | None = None
        self.hearing = False
        """Whether announcements arrive, as far as is proved."""
        self.trouble: str | None = None
        """Why it does not hear; None if it hears, or while that is not known."""

    def attach(self, connection: GuardedConnection | None) -> None:
        """Use *connection* from now on, or none."""
        self.connection = connection
        self.hearing = False
        self._listened = False
        self._hints = Hints()
        self._own.listening = set()
        if connection is None:
            return
        # A server that was restarted gives the same process ids to others.
        self._own.announcing = set()
        status = connection.raw.pgconn.parameter_status(b"application_name") or b"eventstore"
        self._own_name = status.decode()
        connection.raw.add_notify_handler(self._hear)

    def doubt(self) -> None:
        """Prove again now: announcements may come from somewhere else."""
        self.hearing = False
        self._prove_at = 0.0

    @property
    def must_prove(self) -> bool:
        """Whether it is time for a proof."""
        return not self.hearing and time.monotonic() >= self._prove_at

    def prove(self, announce: Callable[[str], None], until: float, deadline: float) -> None:
        """Listen, and find out whether what *announce* sends is heard. The bell is not heeded.

        If it fails, it is tried again after a pause. `attend` is due afterwards.

        Args:
            announce: Announces a text where events are read.
            until: When to stop waiting for the probe.
            deadline: Of the statements.

        Raises:
            psycopg.Error, StorageError: It could not listen, or nothing could be announced, which
                proves nothing.
        """
        assert self.connection is not None
        self._prove_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self.connection.execute(self._channel.listen, (), deadline)
        self._listened, self._prompt = True, None
        self._probe = f"p{uuid4()}"
        try:
            announce(self._probe)
            self._wait_for_probe(until)
        finally:
            # Heard later, it may have come with the answer to a statement, through a pooler.
            self._probe = None

    def _wait_for_probe(self, until: float) -> None:
        now = time.monotonic()
        patience = min(now + _PROBE_TIMEOUT, max(now + _SHORTEST_PROBE, until))
        self.hearing = self.receive(patience, lambda: self._probe is None, heed_bell=False)
        self.trouble = None if self.hearing else _SILENCE
        if self.hearing:
            self._pause, self._prove_at = _FIRST_PAUSE, 0.0

    def must_attend(self, *, prompt: bool) -> bool:
        """Whether it listens otherwise than as wanted."""
        return self._listened and self._prompt is not prompt

    def attend(self, mark: str, *, prompt: bool, deadline: float) -> None:
        """Start or stop to listen, and show in the application name whether we do.

        Args:
            mark: End of the name of a session that listens to this store.
            prompt: Whether to listen.
            deadline: Of the statements.

        Raises:
            psycopg.Error, StorageUnavailableError: As the connection raises it.
        """
        assert self.connection is not None
        wanted = self._channel.listen if prompt else self._channel.unlisten
        self.connection.execute(wanted, (), deadline)
        self._own.listening = {self.connection.raw.info.backend_pid}
        if self.hearing:
            name = self._own_name[:40] + mark if prompt else self._own_name
            self.connection.execute(self._channel.name_session, (name,), deadline)
        self._prompt = prompt

    def stumble(self, error: Exception) -> None:
        """Note that listening failed; it is tried again after a pause."""
        self.hearing = False
        self.trouble = " ".join(str(error).split())

    def lose(self) -> None:
        """Close the connection, which failed."""
        if self.connection is not None:
            self.connection.close()

    def receive(
        self, deadline: float, enough: Callable[[], bool], *, heed_bell: bool = True
    ) -> bool:
        """Receive announcements until *enough*.

        Returns:
            False if the bell rang or *deadline* passed first.

        Raises:
            psycopg.OperationalError: The connection was lost.
        """
        raw = None if self.connection is None else self.connection.raw
        socket = None if raw is None else raw.fileno()
        while True:
            # Some may have come together with the answer to a statement.
            while raw is not None and (notify := raw.pgconn.notifies()):
                self._hear(_decoded(notify))
            if enough():
                return True
            left = deadline - time.monotonic()
            rings, readable = self._bell.wait(left, socket, heed_bell=heed_bell)
            if readable and raw is not None:
                raw.pgconn.consume_input()
            elif rings or left <= 0:
                return False

    def has_hints(self) -> bool:
        return self._hints.any()

    def take(self) -> Hints:
        """Return what was heard, and forget it."""
        hints, self._hints = self._hints, Hints()
        return hints

    def _hear(self, notify: psycopg.Notify) -> None:
        # A session shared through a pooler may still listen to the channels of others.
        if notify.channel != self._channel.channel:
            self._others(notify)
        elif notify.payload == self._probe:
            self._probe = None
        elif notify.pid not in self._own.announcing:
            self._hints.take_in(notify.payload)


def _decoded(notify: PGnotify) -> psycopg.Notify:
    """Decode a notification. Anybody may send on the channel, in any encoding."""
    return psycopg.Notify(
        notify.relname.decode(errors="replace"),
        notify.extra.decode(errors="replace"),
        notify.be_pid,
    )
