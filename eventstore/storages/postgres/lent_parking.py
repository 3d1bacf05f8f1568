"""The part of the storage port for parked events, over connections that are lent for each call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

import psycopg

from eventstore.model.errors import OutcomeUnknownError
from eventstore.model.parked import ParkedEvent
from eventstore.ports.ownership import Fence, Tried
from eventstore.ports.parking import Choice, ParkedKey, ParkedPlace, Parking, ParkingOutcome, Why
from eventstore.ports.stored_events import StoredEvent
from eventstore.storages.postgres.announce_session import payloads
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.lender import Lender
from eventstore.storages.postgres.connecting.sqlstates import Reaction, reaction_to
from eventstore.storages.postgres.lent_reads import LentReads
from eventstore.storages.postgres.parked_rows import ParkedRows

__all__ = ["LentParking"]


class LentParking(LentReads, ABC):
    """Parks events and delivers them again; see `ParksEvents`."""

    _pool: Lender
    """Lends the connections. Also for the reads of an owner: it must see its own changes."""
    _parked: ParkedRows

    def park(self, parking: Parking, deadline: float) -> ParkingOutcome:
        """Park events and move the checkpoint; see `ParksEvents.park`."""
        return self._pool.run(
            lambda c: self._parked.park(c, parking, deadline), deadline, "parking events failed"
        )

    def unpark(
        self,
        fence: Fence,
        delivered: Mapping[str, int],
        ended: Collection[str],
        deadline: float,
    ) -> set[str] | None:
        """Remove delivered events; see `ParksEvents.unpark`."""
        return self._pool.run(
            lambda c: self._parked.unpark(c, fence, delivered, ended, deadline),
            deadline,
            "removing parked events failed",
        )

    def keep_parked(self, fence: Fence, event: ParkedPlace, why: Why, deadline: float) -> bool:
        """Leave the events of a key parked; see `ParksEvents.keep_parked`."""
        return self._pool.run(
            lambda c: self._parked.keep(c, fence, event, why, deadline),
            deadline,
            "keeping parked events failed",
        )

    def note_tries(
        self, fence: Fence, checkpoint: int, least: int, tried: Tried | None, deadline: float
    ) -> bool:
        """Note which event is handed out alone; see `ParksEvents.note_tries`."""
        return self._pool.run(
            lambda c: self._parked.note_tries(c, fence, checkpoint, least, tried, deadline),
            deadline,
            "noting an attempt failed",
        )

    def skip_replayed(self, fence: Fence, position: int, reason: str, deadline: float) -> bool:
        """Give up an event that was delivered again; see `ParksEvents.skip_replayed`."""
        return self._pool.run(
            lambda c: self._parked.skip(c, fence, position, reason, deadline),
            deadline,
            "skipping a parked event failed",
        )

    def parked_keys(self, subscription_id: int, deadline: float) -> list[ParkedKey]:
        """Return the parked keys, by their oldest event."""
        return self._pool.run(
            lambda c: self._parked.keys(c, subscription_id, deadline),
            deadline,
            "reading parked keys failed",
        )

    def read_parked(
        self,
        subscription_id: int,
        keys: Sequence[str],
        after: int,
        count: int,
        max_bytes: int,
        deadline: float,
    ) -> list[StoredEvent]:
        """Read marked events of keys; see `ParksEvents.read_parked`."""
        return self._pool.run(
            lambda c: self._parked.read(
                c, subscription_id, keys, after, count, max_bytes, deadline
            ),
            deadline,
            "reading parked events failed",
        )

    def parked(
        self, stream_id: str, subscription_name: str, after: int, count: int, deadline: float
    ) -> list[ParkedEvent]:
        """Return parked events by position; see `ParksEvents.parked`."""
        return self._pool.run(
            lambda c: self._parked.list(c, stream_id, subscription_name, after, count, deadline),
            deadline,
            "listing parked events failed",
        )

    def choose_parked(self, choice: Choice, deadline: float) -> int:
        """Mark or skip parked events, and announce it; see `ParksEvents.choose_parked`."""
        skips = choice.skip_reason is not None and not choice.dry_run

        def choose(connection: GuardedConnection) -> int:
            try:
                subscription_id, events = self._parked.choose(connection, choice, deadline)
            except psycopg.Error as error:
                if skips and reaction_to(error) is Reaction.LOST:
                    # Once more would skip the next ones.
                    raise OutcomeUnknownError(f"the skip was not answered: {error}") from error
                raise
            (payload,) = payloads(events=False, subscriptions=[subscription_id])
            self._announce(connection, payload, deadline)
            return events

        return self._pool.run(choose, deadline, "choosing parked events failed")

    @abstractmethod
    def _announce(self, connection: GuardedConnection, payload: str, deadline: float) -> None:
        """Announce what is committed."""
