"""Notifies the processes that listen to a store, after a commit and in a transaction of its own.

`pg_notify` takes a lock of the whole server until the end of its commit, which may wait for
standbys. So it never runs in the transaction of an append.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, field

import psycopg

from eventstore.model.errors import EventStoreError
from eventstore.model.log import get_logger
from eventstore.ports.announcing import Announced
from eventstore.storages.postgres import arrays
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.lender import Lender
from eventstore.storages.postgres.connecting.sqlstates import Reaction, reaction_to
from eventstore.storages.postgres.moments import lock_wait
from eventstore.storages.postgres.statements import Channel, Statements

__all__ = [
    "LONGEST_WAIT",
    "Audience",
    "OwnSessions",
    "PostgresAnnounceSession",
    "payloads",
    "send_news",
]

LONGEST_WAIT = 0.2
"""Upper bound in seconds for the wait for that lock, which a waiting commit may hold for long."""

_PRESENT = 1.0
"""Seconds for which somebody who listens is taken to go on listening."""
_LONGEST_PAYLOAD = 7_000
"""Bytes; PostgreSQL takes less than 8,000."""

_log = get_logger()


@dataclass(slots=True)
class OwnSessions:
    """Backend process ids of one storage, which need not notify itself."""

    announcing: set[int] = field(default_factory=set)
    listening: set[int] = field(default_factory=set)
    shared: OwnSessions | None = None
    """Those that the storage shares with others."""

    @property
    def all_listening(self) -> set[int]:
        return self.listening if self.shared is None else self.listening | self.shared.listening


class Audience:
    """Whether other processes listen to the events of a store."""

    def __init__(self, statements: Statements, own: OwnSessions) -> None:
        self._statements = statements
        self._own = own
        self._known = True
        self._known_until = -math.inf

    def listens(self, connection: GuardedConnection, deadline: float) -> bool:
        """Return whether somebody listens, as the server's sessions show.

        Only the answer True is remembered, for a moment: in doubt it is announced.

        Raises:
            psycopg.Error: As the driver raises it.
        """
        now = time.monotonic()
        if now >= self._known_until:
            own = arrays.int4_array(self._own.all_listening)
            ((self._known,),) = connection.execute(self._statements.others_listen, (own,), deadline)
            self._known_until = now + _PRESENT if self._known else -math.inf
        return self._known


class PostgresAnnounceSession:
    """Announces over a connection that is opened when there is something to announce."""

    def __init__(
        self,
        connection: Lender,
        statements: Statements,
        own: OwnSessions,
        audience: Audience,
    ) -> None:
        """Prepare; connects later.

        Args:
            connection: Closed with the session. Its connections announce only, and read.
            statements: The statements of the store.
            own: Shared with the listener of the same storage.
            audience: Of the store.
        """
        self._connection = connection
        self._statements = statements
        self._own = own
        self._audience = audience

    def announce(
        self, *, events: bool, subscriptions: Collection[int], deadline: float
    ) -> Announced:
        """Notify all listeners; see `AnnounceSession.announce`."""

        def send(connection: GuardedConnection) -> Announced:
            self._own.announcing = set()
            if not connection.pooled:
                self._own.announcing = {connection.raw.info.backend_pid}
            if not (subscriptions or self._audience.listens(connection, deadline)):
                return Announced.UNHEARD
            for payload in payloads(events=events, subscriptions=subscriptions):
                send_news(connection, self._statements, payload, deadline)
            return Announced.SENT

        try:
            return self._connection.run_once(send, deadline)
        except (psycopg.Error, EventStoreError) as error:
            _log.debug("an announcement was lost", error=str(error))
            return Announced.LOST

    def committed(self, transactions: Collection[int], deadline: float) -> dict[int, bool]:
        """Look at transactions; see `AnnounceSession.committed`."""
        ids, statement = arrays.int8_array(transactions), self._statements.transaction_status
        try:
            rows = self._connection.run_once(
                lambda c: c.execute(statement, (ids,), deadline), deadline
            )
        except (psycopg.Error, EventStoreError) as error:
            if isinstance(error, psycopg.Error) and reaction_to(error) is Reaction.SINGLY:
                # The database was set back and has not come to one of them again.
                return dict.fromkeys(transactions, True)
            return {}
        return {number: status != "aborted" for number, status in rows if status != "in progress"}

    @property
    def closed(self) -> bool:
        return self._connection.closed

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def payloads(*, events: bool, subscriptions: Collection[int]) -> list[str]:
    """Return the payloads: ``e`` for new events, ``s1,2`` for changed subscriptions 1 and 2."""
    news = ["e"] if events else []
    ids: list[str] = []
    size = 0
    for subscription_id in sorted(subscriptions):
        word = str(subscription_id)
        if size + len(word) > _LONGEST_PAYLOAD:
            news.append("s" + ",".join(ids))
            ids, size = [], 0
        ids.append(word)
        size += len(word) + 1
    if ids:
        news.append("s" + ",".join(ids))
    return news


def send_news(
    connection: GuardedConnection,
    channel: Channel,
    payload: str,
    deadline: float,
    longest_wait: float = LONGEST_WAIT,
) -> None:
    """Send one notification, in a transaction of its own.

    Raises:
        psycopg.Error: As the driver raises it.
    """
    wait = max(1, min(lock_wait(deadline), int(1000 * longest_wait)))
    arguments = (f"{wait}ms", channel.channel, payload)
    try:
        connection.execute(channel.notify, arguments, deadline)
    except psycopg.errors.ProgramLimitExceeded:
        # The server's queue is full. What everybody has read meanwhile leaves it only for a page
        # that is full, which no longer happens, or for this question.
        connection.execute(channel.queue_usage, (), deadline)
        raise
