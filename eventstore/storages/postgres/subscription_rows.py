"""Subscriptions over PostgreSQL: claims, renewals and checkpoints, pauses, resets, lists."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, assert_never
from uuid import UUID

import psycopg
from psycopg.types.numeric import Int4, Int8

from eventstore.model.errors import SubscriptionNotFoundError
from eventstore.model.subscription import Origin, Start, SubscriptionInfo, SubscriptionState
from eventstore.ports.storage import Claimed, Fence, Held, Kept, LeaseMark, Progress
from eventstore.storages.postgres import arrays
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.kept_connection import KeptConnection
from eventstore.storages.postgres.connecting.sqlstates import LOCK_NOT_AVAILABLE
from eventstore.storages.postgres.moments import lock_wait, utc, utc_or_none
from eventstore.storages.postgres.statements import Statements

__all__ = ["PostgresKeeperSession", "SubscriptionRows"]

_WAIT_FOR_BLOCKED = 0.1
"""Seconds spent on rows that somebody locked, so that they cost no other row its lease."""


class SubscriptionRows:
    """The rows of the subscriptions of one store, on a connection that is given."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def claim(
        self,
        connection: GuardedConnection,
        stream_id: str,
        subscription_name: str,
        *,
        start: Start,
        owner: UUID,
        owner_name: str,
        lease: float,
        watched: LeaseMark | None,
        deadline: float,
    ) -> Claimed | Held:
        """Find or create a row and take it over if it is free; harmless when repeated."""
        mark = (watched.owner, Int8(watched.epoch), watched.renewed_at) if watched else (None,) * 3
        arguments = (
            Int4(lock_wait(deadline)),
            stream_id,
            subscription_name,
            _started(start),
            owner,
            owner_name,
            lease,
            *mark,
        )
        row = connection.execute(self._statements.claim, arguments, deadline)[0]
        return _claimed(_ClaimRow(*row))

    def all(self, connection: GuardedConnection, deadline: float) -> list[SubscriptionInfo]:
        """Return every subscription, by stream and name."""
        rows = connection.execute(self._statements.subscriptions, (), deadline)
        return [_info(row) for row in rows]

    def one(
        self, connection: GuardedConnection, stream_id: str, subscription_name: str, deadline: float
    ) -> SubscriptionInfo:
        """Return one subscription."""
        names = (stream_id, subscription_name)
        rows = connection.execute(self._statements.subscription_info, names, deadline)
        if not rows:
            raise SubscriptionNotFoundError(stream_id, subscription_name)
        return _info(rows[0])

    def set_paused(
        self,
        connection: GuardedConnection,
        stream_id: str,
        subscription_name: str,
        *,
        paused: bool,
        deadline: float,
    ) -> None:
        """Pause or resume."""
        arguments = (Int4(lock_wait(deadline)), stream_id, subscription_name, paused)
        found = connection.execute(self._statements.pause, arguments, deadline)[0][0]
        if found is None:
            raise SubscriptionNotFoundError(stream_id, subscription_name)

    def reset(
        self,
        connection: GuardedConnection,
        stream_id: str,
        subscription_name: str,
        position: int,
        deadline: float,
    ) -> None:
        """Set the checkpoint and fence the owner."""
        if position < 0:
            raise ValueError(f"position must be 0 or more: {position}")
        wait = Int4(lock_wait(deadline))
        arguments = (wait, stream_id, subscription_name, Int8(position))
        found, head = connection.execute(self._statements.reset, arguments, deadline)[0]
        if found is None:
            raise SubscriptionNotFoundError(stream_id, subscription_name)
        if position > head:
            raise ValueError(f"position must be 0 to the head of {stream_id!r}, {head}: {position}")

    def delete(
        self,
        connection: GuardedConnection,
        stream_id: str,
        subscription_name: str,
        deadline: float,
    ) -> bool:
        """Forget a subscription and fence its owner; return whether there was one."""
        arguments = (Int4(lock_wait(deadline)), stream_id, subscription_name)
        found = connection.execute(self._statements.delete, arguments, deadline)[0][0]
        return found is not None


class PostgresKeeperSession:
    """One connection that renews leases and stores checkpoints."""

    def __init__(self, connection: KeptConnection, statements: Statements) -> None:
        self._connection = connection
        self._statements = statements

    def keep(self, progress: Sequence[Progress], lease: float, deadline: float) -> list[Kept]:
        """Renew and store, in one statement; see `KeeperSession.keep`."""
        blocked_until = min(time.monotonic() + _WAIT_FOR_BLOCKED, deadline)
        return self._store(progress, lease, deadline, blocked_until)

    def release(self, progress: Sequence[Progress], deadline: float) -> None:
        """Store and give up; see `KeeperSession.release`."""
        self._store(progress, None, deadline, blocked_until=deadline)

    def paused(self, subscription_ids: Sequence[int], deadline: float) -> dict[int, bool]:
        """Return which are paused, without writing anything."""
        ids = arrays.int8_array(subscription_ids)
        return dict(
            self._connection.run(
                lambda c: c.execute(self._statements.paused, (ids,), deadline),
                deadline,
                "reading pauses failed",
            )
        )

    @property
    def closed(self) -> bool:
        return self._connection.closed

    def close(self) -> None:
        """Give up the connection."""
        self._connection.close()

    def _store(
        self,
        progress: Sequence[Progress],
        lease: float | None,
        deadline: float,
        blocked_until: float,
    ) -> list[Kept]:
        """Store all at once, passing over rows that somebody locked; then wait for those, singly.

        Singly, because only a statement that locks one row can wait and not deadlock.
        """
        if not progress:
            return []
        wait = lock_wait(deadline)
        answered = self._send(progress, lease, deadline, wait=wait, skip_locked=True)
        blocked = [number for number in range(len(progress)) if number not in answered]
        for number in blocked:
            if time.monotonic() >= blocked_until:
                break
            wait = lock_wait(blocked_until)
            single = self._send([progress[number]], lease, deadline, wait=wait, skip_locked=False)
            if single:
                answered[number] = single[0]
        return [answered[number] for number in sorted(answered)]

    def _send(
        self,
        progress: Sequence[Progress],
        lease: float | None,
        deadline: float,
        *,
        wait: int,
        skip_locked: bool,
    ) -> dict[int, Kept]:
        """Return what the rows say, by place in *progress*; those that are locked are left out."""
        columns = (Int4(wait), skip_locked, lease, *_columns(progress))

        def send(connection: GuardedConnection) -> list[tuple[Any, ...]]:
            try:
                return connection.execute(self._statements.keep, columns, deadline)
            except psycopg.Error as error:
                if error.sqlstate == LOCK_NOT_AVAILABLE and not skip_locked:
                    return []
                raise

        rows = self._connection.run(send, deadline, "keeping subscriptions failed")
        return {
            item - 1: Kept(progress[item - 1].fence, owned, checkpoint, paused)
            for item, owned, checkpoint, paused in rows
        }


class _ClaimRow(NamedTuple):
    granted: bool
    created: bool
    subscription_id: int
    owner: UUID
    epoch: int
    checkpoint: int
    head: int
    paused: bool
    owner_name: str
    owned_since: Any
    renewed_at: Any


def _claimed(row: _ClaimRow) -> Claimed | Held:
    if row.granted:
        fence = Fence(row.subscription_id, row.owner, row.epoch)
        return Claimed(fence, row.checkpoint, row.head, row.paused, row.created)
    mark = LeaseMark(row.owner, row.epoch, utc(row.renewed_at))
    return Held(row.owner_name, utc(row.owned_since), mark)


def _started(start: Start) -> Int8 | None:
    """Return the position to start after; None: the head, as the claim finds it."""
    match start:
        case Origin.ORIGIN:
            return Int8(0)
        case Origin.CURRENT:
            return None
        case int():
            return Int8(start)
        case _:
            assert_never(start)


def _columns(progress: Sequence[Progress]) -> tuple[arrays.BinaryArray, ...]:
    return (
        arrays.int8_array([each.fence.subscription_id for each in progress]),
        arrays.uuid_array([each.fence.owner for each in progress]),
        arrays.int8_array([each.fence.epoch for each in progress]),
        arrays.int8_array([each.checkpoint for each in progress]),
        arrays.text_array([each.state.value for each in progress]),
        arrays.text_array([_storable(each.last_error) for each in progress]),
        arrays.int4_array([each.attempts for each in progress]),
    )


def _storable(text: str | None) -> str | None:
    """Return an error's text without what no text column takes: NUL and lone surrogates."""
    if text is None:
        return None
    return text.replace("\x00", "\\x00").encode(errors="backslashreplace").decode()


def _info(row: tuple[Any, ...]) -> SubscriptionInfo:
    (
        subscription_id,
        stream_id,
        subscription_name,
        owner,
        since,
        epoch,
        state,
        checkpoint,
        head,
        lag_events,
        lag_seconds,
        paused,
        last_error,
        attempts,
        created_at,
    ) = row
    return SubscriptionInfo(
        subscription_id=subscription_id,
        stream_id=stream_id,
        subscription_name=subscription_name,
        owner=owner,
        since=utc_or_none(since),
        epoch=epoch,
        state=SubscriptionState(state),
        checkpoint=checkpoint,
        head=head,
        lag_events=lag_events,
        lag_seconds=lag_seconds,
        paused=paused,
        last_error=last_error,
        attempts=attempts,
        created_at=utc(created_at),
    )
