"""Messages that the store sends to a subscriber, and to an application that owns its supervisor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, overload

from eventstore.model.deliveries import DeliveryRun
from eventstore.model.errors import EventStoreError
from eventstore.model.events import RecordedEvent
from eventstore.model.subscription import Subscription

__all__ = ["ActorReference", "Events", "Receiver", "StoreFailed", "Subscribed", "SubscriptionLost"]


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A delivery run starts: drop events not yet acknowledged, they are delivered again."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Events(Sequence[RecordedEvent]):
    """A batch of events, in order. It is itself a sequence of them.

    With a `mapper`, the items are its results; those that are events can be acknowledged as such.
    """

    subscription: Subscription
    events: Sequence[RecordedEvent]
    last_position: int
    """Position of the last event of the batch, in the subscribed stream or in ``$all``."""
    run: DeliveryRun | None = field(default=None, repr=False, compare=False)
    """The run it was delivered in. None: it was never delivered, so it acknowledges nothing."""
    settle: Callable[[object], Any] | None = field(default=None, repr=False, compare=False)
    """Stores its checkpoint; None unless the subscription has `transactional="caller"`."""
    replay: bool = False
    """Whether its events were parked before. They belong to one stream."""

    batch: Any = field(default=None, repr=False, compare=False)
    """What `processed=` stores; None if its function acknowledges it in another way."""

    def checkpoint(self, connection: object) -> Any:
        """Store the checkpoint in your transaction, for `transactional="caller"`.

        Call it last, and commit: what the transaction wrote and the checkpoint commit together, or
        not at all. A coroutine function awaits it. Append nothing before it in that transaction:
        after a failover that lost the batch, those events would have the places of lost ones.

        Args:
            connection: Your connection to the database of the store, in a transaction under any
                isolation level; as for `EventStore.append_to_stream`.

        Raises:
            SubscriptionLostError: The batch belongs to another owner, or was handled before. The
                transaction is aborted; let the error through.
            TypeError, ValueError: *connection* cannot be used, and its transaction goes on. Or the
                subscription has another `transactional`.
            StorageError: The transaction is aborted, and the batch comes again.
        """
        if self.settle is None:
            raise ValueError("checkpoint is for subscriptions with transactional='caller'")
        return self.settle(connection)

    def ack(self, what: int | RecordedEvent | Sequence[RecordedEvent]) -> None:
        """Acknowledge the events up to *what*, as `Subscription.ack` does.

        What a function acknowledged never comes again, even if it raises afterwards.
        """
        self.subscription.ack(what)

    @overload
    def __getitem__(self, index: int) -> RecordedEvent: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[RecordedEvent]: ...

    def __getitem__(self, index: int | slice) -> RecordedEvent | Sequence[RecordedEvent]:
        return self.events[index]

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[RecordedEvent]:
        return iter(self.events)


@dataclass(frozen=True, slots=True)
class SubscriptionLost:
    """The subscriber has lost its subscription: taken over, reset, deleted or closed."""

    subscription: Subscription
    reason: EventStoreError


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The supervisor has given up; every call of its store raises *error* from now on."""

    supervisor: Any
    """The reference that `StoreSupervisor.start` returned."""
    error: BaseException


class ActorReference(Protocol):
    """The reference of an actor, as pykka has it."""

    @property
    def actor_urn(self) -> str: ...

    def is_alive(self) -> bool: ...

    def tell(self, message: Any) -> None: ...


Receiver = Callable[[Events], None] | Callable[[Events, Any], None] | ActorReference
"""What can subscribe: a function of `Events`, or the reference of an actor.

With `transactional` the function takes a connection of psycopg, too.
"""
