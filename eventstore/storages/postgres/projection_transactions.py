"""Changes projections together with what the application does to its tables; see `Projects`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, assert_never

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb
from psycopg.types.numeric import Int4, Int8

from eventstore.model.checks import check_within
from eventstore.model.errors import OutcomeUnknownError, ProjectionError, StorageError
from eventstore.model.names import ALL_STREAMS
from eventstore.model.projection import ProjectionInfo, subscription_of
from eventstore.model.subscription import SubscriptionOptions, SubscriptionState
from eventstore.ports.projections import (
    Created,
    Decide,
    Dropped,
    Rebuilt,
    StoredProjection,
    Switched,
    VersionChange,
)
from eventstore.ports.waits import Waits
from eventstore.storages.postgres.announce_session import payloads
from eventstore.storages.postgres.connecting.connection import GuardedConnection, Row
from eventstore.storages.postgres.connecting.handler_connections import HandlerConnection
from eventstore.storages.postgres.connecting.lender import Lender
from eventstore.storages.postgres.connecting.sqlstates import (
    LOCK_NOT_AVAILABLE,
    Reaction,
    reaction_to,
    translated,
)
from eventstore.storages.postgres.effect_transactions import (
    EffectTransactions,
    check_fit,
    outage,
)
from eventstore.storages.postgres.moments import lock_wait, utc, utc_or_none
from eventstore.storages.postgres.subscription_rows import started

__all__ = ["ProjectionTransactions"]

_DOING = "changing a projection failed"

_ENDED = (
    "the function has ended the transaction itself, so what it did is stored, and the projection is"
    " as before: leave the commit to the store"
)


class ProjectionTransactions(EffectTransactions, ABC):
    """Changes projections, over the connections of handlers."""

    _pool: Lender

    def projections(self, deadline: float) -> list[ProjectionInfo]:
        """Return every version of every projection; see `Projects.projections`."""
        rows = self._pool.run(
            lambda c: c.execute(self._statements.projections, (), deadline),
            deadline,
            "listing projections failed",
        )
        return [_info(*row) for row in rows]

    async def change_projection(
        self,
        name: str,
        version: int,
        decide: Decide,
        idle: float,
        deadline: float,
        waits: Waits,
        *,
        alone: bool,
    ) -> int | None:
        """Change a version and its tables; see `Projects.change_projection`."""
        lent = await self._handler_connections.lend(waits, deadline)
        try:
            place = name, version, alone
            transaction_id, stored = await self._locked(lent, place, idle, deadline)
            change = await self._decided(lent, decide, stored)
            if change is None:
                return stored.subscription_id
            check_fit(lent, "function")
            changed = await self._stored_change(lent, transaction_id, name, version, change)
            await self._commit(lent)
        finally:
            try:
                with suppress(psycopg.Error):
                    await lent.rollback(self._deadline())
            finally:
                self._handler_connections.take_back(lent)
        if changed is not None:
            await waits.call(self._tell, changed)
        return stored.subscription_id if changed is None else changed

    async def _locked(
        self, lent: HandlerConnection, place: tuple[str, int, bool], idle: float, deadline: float
    ) -> tuple[int, StoredProjection]:
        """Begin the transaction, and lock the projection. Return its id, and what is stored."""
        name, version, alone = place
        times = Int4(lock_wait(deadline)), Int4(round(1000 * idle))
        arguments = (*times, name, Int4(version), alone)
        transaction_id, *stored = await self._row(
            lent, self._statements.begin_projection, arguments, deadline
        )
        return transaction_id, StoredProjection(*stored)

    async def _decided(
        self, lent: HandlerConnection, decide: Decide, stored: StoredProjection
    ) -> VersionChange | None:
        """Call *decide*; what only time can mend is an error of ours."""
        try:
            return await decide(stored, lent.raw)
        except psycopg.Error as error:
            if lent.lost and not lent.was_closed:
                raise outage(_DOING, error) from error
            if error.sqlstate == LOCK_NOT_AVAILABLE:
                raise translated(error, _DOING) from error
            raise

    async def _stored_change(
        self,
        lent: HandlerConnection,
        transaction_id: int,
        name: str,
        version: int,
        change: VersionChange,
    ) -> int | None:
        """Store *change*. Return the subscription whose owner is to hear of it, if there is one."""
        deadline = self._deadline()
        place = (Int4(lock_wait(deadline)), Int8(transaction_id), name, Int4(version))
        send = partial(self._sent, lent, deadline)
        match change:
            case Created(options, is_current):
                created, found, head = await send(
                    self._statements.create_projection, (*place, *_begun(options), is_current)
                )
                _check_start(options.start_from, head)
                if not created:
                    raise _name_used(name, version)
                return int(found)
            case Rebuilt(options):
                is_own, found, head = await send(
                    self._statements.rebuild_projection, (*place, *_begun(options))
                )
                _check_start(options.start_from, head)
                if not is_own:
                    raise _name_used(name, version)
                return int(found)
            case Switched():
                await send(self._statements.switch_projection, place)
                return None
            case Dropped():
                (found,) = await send(self._statements.drop_projection, place)
                return None if found is None else int(found)
            case _:
                assert_never(change)

    async def _sent(
        self,
        lent: HandlerConnection,
        deadline: float,
        statement: bytes,
        arguments: Sequence[object],
    ) -> list[Any]:
        """Run what stores a change, and return what it answers beside that it did.

        Raises:
            RuntimeError: The transaction is another one than the change began in.
        """
        if lent.status != TransactionStatus.INTRANS:
            raise RuntimeError(_ENDED)
        done, *answer = await self._row(lent, statement, arguments, deadline)
        if not done:
            raise RuntimeError(_ENDED)
        return answer

    async def _row(
        self,
        lent: HandlerConnection,
        statement: bytes,
        arguments: Sequence[object],
        deadline: float,
    ) -> Row:
        try:
            [row] = await lent.fetch(statement, arguments, deadline)
        except psycopg.Error as error:
            raise translated(error, _DOING) from error
        return row

    async def _commit(self, lent: HandlerConnection) -> None:
        try:
            await lent.commit(self._deadline())
        except psycopg.Error as error:
            if reaction_to(error) is Reaction.LOST:
                raise OutcomeUnknownError(f"the commit was not answered: {error}") from error
            raise translated(error, _DOING) from error

    def _tell(self, subscription_id: int) -> None:
        """Have the owner of the subscription look at it; if that fails, it looks by itself."""
        (payload,) = payloads(events=False, subscriptions=[subscription_id])
        deadline = self._deadline()
        with suppress(StorageError):
            self._pool.run(lambda c: self._announce(c, payload, deadline), deadline, _DOING)

    @abstractmethod
    def _announce(self, connection: GuardedConnection, payload: str, deadline: float) -> None:
        """Announce what is committed."""


def _begun(options: SubscriptionOptions) -> tuple[object, ...]:
    """Return the arguments for a subscription that begins."""
    return started(options.start_from), Jsonb(options.stored)


def _check_start(start: object, head: int) -> None:
    if isinstance(start, int):
        check_within("start_from", start, ALL_STREAMS, head)


def _name_used(name: str, version: int) -> ProjectionError:
    return ProjectionError(
        f"projection {name!r} cannot have version {version}: there is a subscription"
        f" {subscription_of(name, version)!r} to {ALL_STREAMS!r} that is not its own",
        name,
        version,
    )


def _info(
    name: str,
    version: int,
    is_current: bool,
    created_at: datetime,
    switched_at: datetime | None,
    state: str | None,
    paused: bool,
    owner: str | None,
    position: int,
    head: int,
    lag_events: int,
    lag_seconds: float,
    last_error: str | None,
) -> ProjectionInfo:
    return ProjectionInfo(
        name=name,
        version=version,
        is_current=is_current,
        created_at=utc(created_at),
        switched_at=utc_or_none(switched_at),
        state=None if state is None else SubscriptionState(state),
        paused=paused,
        owner=owner,
        position=position,
        head=head,
        lag_events=lag_events,
        lag_seconds=lag_seconds,
        rate=None,
        last_error=last_error,
    )
