"""Subscriptions over PostgreSQL: claims, renewals, checkpoints, pauses, resets, lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, assert_never
from uuid import UUID

from psycopg.types.json import Jsonb
from psycopg.types.numeric import Int4, Int8

from eventstore.model.checks import check_int, check_within
from eventstore.model.errors import SubscriptionNotFoundError, SubscriptionOptionsError
from eventstore.model.subscription import SubscriptionState
from eventstore.model.subscription_info import SubscriptionInfo
from eventstore.model.subscription_start import Origin, Start
from eventstore.ports.ownership import (
    Claim,
    Claimed,
    Fence,
    Held,
    Kept,
    LeaseMark,
    Progress,
    Standing,
    StoredProgress,
    Tried,
)
from eventstore.ports.parking import Dropped, has_parked
from eventstore.ports.projections import belongs_to_projection
from eventstore.storages.postgres import arrays
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.lender import Lender
from eventstore.storages.postgres.erasing import Eraser
from eventstore.storages.postgres.moments import lock_wait, utc, utc_or_none
from eventstore.storages.postgres.statements import Statements

__all__ = ["PostgresKeeperSession", "SubscriptionRows", "started", "storable"]


class SubscriptionRows:
    """The rows of the subscriptions of one store, on a given connection."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def claim(self, connection: GuardedConnection, claim: Claim, deadline: float) -> Claimed | Held:
        """Take over a subscription if it is free. Idempotent."""
        watched = claim.watched
        mark = (watched.owner, Int8(watched.epoch), watched.renewed_at) if watched else (None,) * 3
        known = claim.subscription_id
        arguments = (
            Int4(lock_wait(deadline)),
            claim.stream_id,
            claim.subscription_name,
            known is None,
            None if known is None else Int8(known),
            started(claim.start),
            claim.owner,
            claim.owner_name,
            claim.lease,
            *mark,
            Jsonb(claim.options),
        )
        rows = connection.execute(self._statements.claim, arguments, deadline)
        if not rows:
            raise SubscriptionNotFoundError(claim.stream_id, claim.subscription_name)
        row = _ClaimRow(*rows[0])
        if row.subscription_id is None:
            assert isinstance(claim.start, int)
            check_within("start_from", claim.start, claim.stream_id, row.head)
        if row.other_options is not None:
            raise SubscriptionOptionsError(
                claim.stream_id,
                claim.subscription_name,
                row.other_options,
                claim.options,
                of_projection=row.projected,
            )
        if row.projected and known is None:
            raise belongs_to_projection(claim.stream_id, claim.subscription_name)
        return _claimed(row)

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

    def progress(
        self, connection: GuardedConnection, stream_id: str, subscription_name: str, deadline: float
    ) -> StoredProgress:
        """Return how far one subscription is."""
        names = (stream_id, subscription_name)
        rows = connection.execute(self._statements.stored_progress, names, deadline)
        if not rows:
            raise SubscriptionNotFoundError(stream_id, subscription_name)
        subscription_id, epoch, checkpoint, has_parked, state, last_error = rows[0]
        shown = SubscriptionState(state), last_error
        return StoredProgress(subscription_id, epoch, checkpoint, has_parked, *shown)

    def set_paused(
        self,
        connection: GuardedConnection,
        stream_id: str,
        subscription_name: str,
        *,
        paused: bool,
        deadline: float,
    ) -> int:
        """Pause or resume a subscription. Return its id."""
        arguments = (Int4(lock_wait(deadline)), stream_id, subscription_name, paused)
        found: int | None = connection.execute(self._statements.pause, arguments, deadline)[0][0]
        if found is None:
            raise SubscriptionNotFoundError(stream_id, subscription_name)
        return found

    def reset(
        self,
        connection: GuardedConnection,
        stream_id: str,
        subscription_name: str,
        position: int,
        deadline: float,
    ) -> tuple[int, Dropped]:
        """Set the checkpoint and fence the owner. Return its id and the parked events that went."""
        check_int("position", position, least=0)
        wait = Int4(lock_wait(deadline))
        arguments = (wait, stream_id, subscription_name, Int8(position))
        [row] = connection.execute(self._statements.reset, arguments, deadline)
        found: int | None
        found, head, is_projected, *dropped = row
        if found is None:
            raise SubscriptionNotFoundError(stream_id, subscription_name)
        if is_projected:
            raise belongs_to_projection(stream_id, subscription_name)
        check_within("position", position, stream_id, head)
        return found, Dropped(*dropped)

    def delete(
        self,
        connection: GuardedConnection,
        stream_id: str,
        subscription_name: str,
        deadline: float,
        *,
        drop_parked: bool,
    ) -> tuple[int | None, Dropped]:
        """Delete a subscription and fence its owner.

        Returns:
            Its id, or None if it is missing; and the parked events that went.
        """
        arguments = (Int4(lock_wait(deadline)), stream_id, subscription_name, drop_parked)
        rows = connection.execute(self._statements.delete, arguments, deadline)
        found: int | None
        found, is_deleted, is_projected, *parked = rows[0]
        if is_projected:
            raise belongs_to_projection(stream_id, subscription_name)
        if not is_deleted:
            raise has_parked(stream_id, subscription_name, parked[0])
        return found, Dropped(*parked)


class PostgresKeeperSession:
    """Renews leases and stores checkpoints over a connection, which is closed with the session."""

    def __init__(self, connection: Lender, statements: Statements) -> None:
        self._connection = connection
        self._statements = statements
        self._eraser = Eraser(statements)

    def keep(self, progress: Sequence[Progress], lease: float, deadline: float) -> list[Kept]:
        """Renew and store, in one statement; see `KeeperSession.keep`."""
        if not progress:
            return []
        columns = (Int4(lock_wait(deadline)), lease, *_columns(progress))
        rows = self._connection.run(
            lambda c: c.execute(self._statements.keep, columns, deadline),
            deadline,
            "keeping subscriptions failed",
        )
        return [Kept(progress[item - 1].fence, *rest) for item, *rest in sorted(rows)]

    def release(self, progress: Sequence[Progress], deadline: float) -> list[Fence]:
        """Store and give up, in one statement; see `KeeperSession.release`."""
        if not progress:
            return []
        columns = (Int4(lock_wait(deadline)), *_columns(progress))
        rows = self._connection.run(
            lambda c: c.execute(self._statements.release, columns, deadline),
            deadline,
            "releasing subscriptions failed",
        )
        settled = {place for (place,) in rows}
        return [each.fence for place, each in enumerate(progress, 1) if place not in settled]

    def look(self, position_ids: Sequence[int], deadline: float) -> dict[int, Standing]:
        """Read the rows; see `KeeperSession.look`."""
        ids = arrays.int8_array(position_ids)
        rows = self._connection.run(
            lambda c: c.execute(self._statements.look, (ids,), deadline),
            deadline,
            "looking at subscriptions failed",
        )
        return {row[0]: _standing(*row) for row in rows}

    def erase(self, deadline: float) -> bool:
        """Erase some of what was deleted for good; see `KeeperSession.erase`."""
        return self._connection.run(
            lambda c: self._eraser.erase(c, deadline), deadline, "erasing events failed"
        )

    @property
    def closed(self) -> bool:
        return self._connection.closed

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class _ClaimRow(NamedTuple):
    granted: bool
    created: bool
    locked: bool
    subscription_id: int
    position_id: int
    owner: UUID | None
    epoch: int
    checkpoint: int
    head: int
    paused: bool
    owner_name: str | None
    owned_since: datetime | None
    renewed_at: datetime | None
    clock_set_back: bool
    other_options: dict[str, Any] | None
    owner_died: bool
    tried: int | None
    tries: int
    projected: bool


def _claimed(row: _ClaimRow) -> Claimed | Held:
    if row.granted:
        assert row.owner is not None
        fence = Fence(row.position_id, row.owner, row.epoch)
        return Claimed(
            row.subscription_id,
            fence,
            row.checkpoint,
            row.head,
            row.paused,
            row.created,
            row.owner_died,
            None if row.tried is None else Tried(row.tried, row.tries),
        )
    return Held(
        row.subscription_id,
        row.position_id,
        row.owner_name or "",
        utc_or_none(row.owned_since),
        _mark(row.owner, row.epoch, row.renewed_at),
        row.clock_set_back,
    )


def _standing(
    position_id: int,
    paused: bool,
    epoch: int,
    owner: UUID | None,
    renewed_at: datetime | None,
    expired: bool,
) -> Standing:
    return Standing(position_id, paused, epoch, _mark(owner, epoch, renewed_at), expired)


def _mark(owner: UUID | None, epoch: int, renewed_at: datetime | None) -> LeaseMark | None:
    if owner is None or renewed_at is None:
        return None
    return LeaseMark(owner, epoch, utc(renewed_at))


def started(start: Start) -> Int8 | None:
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
        arrays.int8_array([each.fence.position_id for each in progress]),
        arrays.uuid_array([each.fence.owner for each in progress]),
        arrays.int8_array([each.fence.epoch for each in progress]),
        arrays.int8_array([each.checkpoint for each in progress]),
        arrays.int8_array([each.least for each in progress]),
        arrays.text_array([each.state.value for each in progress]),
        arrays.text_array([storable(each.last_error) for each in progress]),
        arrays.int4_array([each.attempts for each in progress]),
    )


def storable(text: str | None) -> str | None:
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
        parked,
        parked_oldest_seconds,
        paused,
        options,
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
        parked=parked,
        parked_oldest_seconds=parked_oldest_seconds,
        paused=paused,
        options=options,
        last_error=last_error,
        attempts=attempts,
        created_at=utc(created_at),
    )
