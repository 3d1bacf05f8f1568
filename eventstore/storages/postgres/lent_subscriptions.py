"""The subscriptions of a store, over connections that are lent for each call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from eventstore.model.errors import SubscriptionNotFoundError
from eventstore.model.subscription_info import SubscriptionInfo
from eventstore.ports.ownership import Claim, Claimed, Held, StoredProgress
from eventstore.ports.parking import Dropped
from eventstore.storages.postgres.announce_session import payloads
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.lender import Lender
from eventstore.storages.postgres.subscription_rows import SubscriptionRows

__all__ = ["LentSubscriptions"]

Result = TypeVar("Result")


class LentSubscriptions(ABC):
    """Claims, lists and changes subscriptions; see `Storage`."""

    _pool: Lender
    _rows: SubscriptionRows

    def claim(self, claim: Claim, deadline: float) -> Claimed | Held:
        """Take over a subscription if it is free; see `Storage.claim`."""
        return self._pool.run(
            lambda c: self._rows.claim(c, claim, deadline),
            deadline,
            "claiming a subscription failed",
        )

    def subscriptions(self, deadline: float) -> list[SubscriptionInfo]:
        """Return every subscription, by stream and name."""
        return self._pool.run(
            lambda c: self._rows.all(c, deadline), deadline, "listing subscriptions failed"
        )

    def subscription_info(
        self, stream_id: str, subscription_name: str, deadline: float
    ) -> SubscriptionInfo:
        """Return one subscription; see `Storage.subscription_info`."""
        return self._pool.run(
            lambda c: self._rows.one(c, stream_id, subscription_name, deadline),
            deadline,
            "reading a subscription failed",
        )

    def stored_progress(
        self, stream_id: str, subscription_name: str, deadline: float
    ) -> StoredProgress:
        """Return how far one subscription is; see `Storage.stored_progress`."""
        return self._pool.run(
            lambda c: self._rows.progress(c, stream_id, subscription_name, deadline),
            deadline,
            "reading a subscription failed",
        )

    def set_paused(
        self, stream_id: str, subscription_name: str, *, paused: bool, deadline: float
    ) -> None:
        """Pause or resume a subscription; see `Storage.set_paused`."""
        self._change(
            "pausing a subscription",
            lambda c: (
                self._rows.set_paused(
                    c, stream_id, subscription_name, paused=paused, deadline=deadline
                ),
                None,
            ),
            deadline,
        )

    def reset_subscription(
        self, stream_id: str, subscription_name: str, position: int, deadline: float
    ) -> Dropped:
        """Set the checkpoint and fence the owner; see `Storage.reset_subscription`."""
        _, dropped = self._dropping(
            "resetting a subscription",
            lambda c: self._rows.reset(c, stream_id, subscription_name, position, deadline),
            deadline,
        )
        return dropped

    def delete_subscription(
        self, stream_id: str, subscription_name: str, deadline: float, *, drop_parked: bool = False
    ) -> Dropped:
        """Delete a subscription and fence its owner; see `Storage.delete_subscription`."""
        key = stream_id, subscription_name
        found, dropped = self._dropping(
            "deleting a subscription",
            lambda c: self._rows.delete(c, *key, deadline, drop_parked=drop_parked),
            deadline,
        )
        # On a retry it may be missing because the first attempt deleted it.
        if found is None and dropped.is_all:
            raise SubscriptionNotFoundError(stream_id, subscription_name)
        return dropped

    def _dropping(
        self,
        doing: str,
        work: Callable[[GuardedConnection], tuple[int | None, Dropped]],
        deadline: float,
    ) -> tuple[int | None, Dropped]:
        """Do what `_change` does, and know whether *work* was done before."""
        attempts = 0

        def drop(connection: GuardedConnection) -> tuple[int | None, Dropped]:
            nonlocal attempts
            attempts += 1
            return work(connection)

        found, dropped = self._change(doing, drop, deadline)
        return found, replace(dropped, is_all=attempts == 1)

    def _change(
        self,
        doing: str,
        work: Callable[[GuardedConnection], tuple[int | None, Result]],
        deadline: float,
    ) -> tuple[int | None, Result]:
        """Do *work*, which returns the id of a subscription, and announce that on its connection.

        Returns:
            What *work* returned.
        """

        def change(connection: GuardedConnection) -> tuple[int | None, Result]:
            changed, result = work(connection)
            if changed is not None:
                (payload,) = payloads(events=False, subscriptions=[changed])
                self._announce(connection, payload, deadline)
            return changed, result

        return self._pool.run(change, deadline, f"{doing} failed")

    @abstractmethod
    def _announce(self, connection: GuardedConnection, payload: str, deadline: float) -> None:
        """Announce what is committed."""
