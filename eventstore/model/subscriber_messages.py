"""What the store tells a subscriber, and an application that owns its supervisor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from eventstore.model.errors import EventStoreError
from eventstore.model.events import RecordedEvent
from eventstore.model.subscription import Subscription

__all__ = ["Events", "StoreFailed", "Subscribed", "SubscriptionLost"]


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A delivery run starts: forget whatever you hold unacknowledged, it comes again."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Events(Sequence[RecordedEvent]):
    """A batch of events, in order; also a sequence of them.

    With a `mapper`, the items are what it returned; acknowledge the `Events` or a position then.
    """

    subscription: Subscription
    events: Sequence[RecordedEvent]
    last_position: int
    """Position of the last event of the batch, in what is subscribed to."""

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
    """The subscription is not yours any more: fenced, reset, deleted or closed."""

    subscription: Subscription
    reason: EventStoreError


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The supervisor gave up; every call of its store raises *error* from now on."""

    supervisor: Any
    """The supervisor's reference, as the application got it."""
    error: BaseException
