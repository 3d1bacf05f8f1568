"""Parked events over PostgreSQL, on a given connection."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from psycopg.types.numeric import Int4, Int8

from eventstore.model.errors import SubscriptionNotFoundError
from eventstore.model.parked import ParkedEvent
from eventstore.ports.ownership import Fence, Tried
from eventstore.ports.parking import (
    Choice,
    ParkedKey,
    ParkedPlace,
    Parking,
    ParkingOutcome,
    Why,
)
from eventstore.ports.stored_events import StoredEvent
from eventstore.storages.postgres import arrays
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.moments import lock_wait, utc, utc_or_none
from eventstore.storages.postgres.reader import parked_events
from eventstore.storages.postgres.statements import Statements
from eventstore.storages.postgres.subscription_rows import storable

__all__ = ["ParkedRows"]

_Place = tuple[Int4, Int8, UUID, Int8]


class ParkedRows:
    """The parked events of one store, on a given connection."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def park(
        self, connection: GuardedConnection, parking: Parking, deadline: float
    ) -> ParkingOutcome:
        """Park events and move the checkpoint; see `ParksEvents.park`."""
        events, why, most = parking.events, parking.why, parking.most
        arguments = (
            *_place(parking.fence, deadline),
            Int8(parking.checkpoint),
            parking.follows,
            None if most is None else Int8(most.events),
            None if most is None else Int8(most.of_key),
            arrays.text_array([event.key for event in events]),
            arrays.int8_array([event.position for event in events]),
            arrays.int8_array([event.global_position for event in events]),
            *_why(why),
        )
        return ParkingOutcome(connection.execute(self._statements.park, arguments, deadline)[0][0])

    def unpark(
        self,
        connection: GuardedConnection,
        fence: Fence,
        delivered: Mapping[str, int],
        ended: Collection[str],
        deadline: float,
    ) -> set[str] | None:
        """Remove delivered events; see `ParksEvents.unpark`."""
        arguments = (
            *_place(fence, deadline),
            arrays.text_array([*delivered]),
            arrays.int8_array([*delivered.values()]),
            arrays.text_array([*ended]),
        )
        left = connection.execute(self._statements.unpark, arguments, deadline)[0][0]
        return None if left is None else set(left)

    def keep(
        self,
        connection: GuardedConnection,
        fence: Fence,
        event: ParkedPlace,
        why: Why,
        deadline: float,
    ) -> bool:
        """Leave the events of a key parked; see `ParksEvents.keep_parked`."""
        arguments = (*_place(fence, deadline), event.key, Int8(event.position), *_why(why))
        return bool(connection.execute(self._statements.keep_parked, arguments, deadline)[0][0])

    def note_tries(
        self,
        connection: GuardedConnection,
        fence: Fence,
        checkpoint: int,
        least: int,
        tried: Tried | None,
        deadline: float,
    ) -> bool:
        """Note which event is handed out alone; see `ParksEvents.note_tries`."""
        noted = (None, Int4(0)) if tried is None else (Int8(tried.position), Int4(tried.tries))
        arguments = (*_place(fence, deadline), Int8(checkpoint), Int8(least), *noted)
        return bool(connection.execute(self._statements.note_tries, arguments, deadline)[0][0])

    def skip(
        self,
        connection: GuardedConnection,
        fence: Fence,
        position: int,
        reason: str,
        deadline: float,
    ) -> bool:
        """Give up an event that was delivered again; see `ParksEvents.skip_replayed`."""
        arguments = (*_place(fence, deadline), Int8(position), storable(reason))
        return bool(connection.execute(self._statements.skip_replayed, arguments, deadline)[0][0])

    def keys(
        self, connection: GuardedConnection, subscription_id: int, deadline: float
    ) -> list[ParkedKey]:
        """Return the parked keys, by their oldest event."""
        arguments = (Int8(subscription_id),)
        rows = connection.execute(self._statements.parked_keys, arguments, deadline)
        return [ParkedKey(*row) for row in rows]

    def read(
        self,
        connection: GuardedConnection,
        subscription_id: int,
        keys: Sequence[str],
        after: int,
        count: int,
        max_bytes: int,
        deadline: float,
    ) -> list[StoredEvent]:
        """Read marked events of keys; see `ParksEvents.read_parked`."""
        most = Int8(count)
        arguments = (
            arrays.text_array(keys),
            Int8(subscription_id),
            Int8(after),
            most,
            most,
            Int8(max_bytes),
        )
        return parked_events(connection.execute(self._statements.read_parked, arguments, deadline))

    def list(
        self,
        connection: GuardedConnection,
        stream_id: str,
        subscription_name: str,
        after: int,
        count: int,
        deadline: float,
    ) -> list[ParkedEvent]:
        """Return parked events by position; see `ParksEvents.parked`."""
        arguments = (Int8(after), Int8(count), stream_id, subscription_name)
        rows = connection.execute(self._statements.parked, arguments, deadline)
        if not rows:
            raise SubscriptionNotFoundError(stream_id, subscription_name)
        return [_event(*row) for row in rows if row[0] is not None]

    def choose(
        self, connection: GuardedConnection, choice: Choice, deadline: float
    ) -> tuple[int, int]:
        """Mark or skip events. Return the subscription's id and their number."""
        arguments = (
            Int4(lock_wait(deadline)),
            choice.stream_id,
            choice.subscription_name,
            choice.key,
            None if choice.limit is None else Int8(choice.limit),
            choice.skip_reason,
            choice.dry_run,
        )
        rows = connection.execute(self._statements.choose_parked, arguments, deadline)
        subscription_id, events = rows[0]
        if subscription_id is None:
            raise SubscriptionNotFoundError(choice.stream_id, choice.subscription_name)
        return subscription_id, events


def _place(fence: Fence, deadline: float) -> _Place:
    return Int4(lock_wait(deadline)), Int8(fence.position_id), fence.owner, Int8(fence.epoch)


def _why(why: Why) -> tuple[str | None, str | None, Int4]:
    return storable(why.reason), storable(why.error), Int4(why.attempts)


def _event(
    key: str,
    position: int,
    global_position: int,
    reason: str,
    error: str | None,
    attempts: int,
    parked_at: datetime,
    failed_at: datetime | None,
    is_marked: bool,
) -> ParkedEvent:
    return ParkedEvent(
        key=key,
        position=position,
        global_position=global_position,
        reason=reason,
        error=error,
        attempts=attempts,
        parked_at=utc(parked_at),
        failed_at=utc_or_none(failed_at),
        is_marked=is_marked,
    )
