"""What of a subscription outlives a crash of its actor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionOptions
from eventstore_actors.kernel.messages import Ref
from eventstore_actors.state.subscription_handle import SubscriptionHandle

__all__ = ["Handler", "Seat"]

Handler = Callable[[Events], None]


@dataclass(slots=True, eq=False)
class Seat:
    """What of a subscription outlives a crash of its actor."""

    handle: SubscriptionHandle
    subscriber: Ref | Handler
    options: SubscriptionOptions
    owner: UUID = field(default_factory=uuid4)
    """Claims of one owner never fence each other, so a restarted actor goes on at once."""
    subscription_id: int | None = None
    """The subscription that was claimed first; None until that claim was answered."""
    position_id: int | None = None
    run: int = 0
    """Delivery runs so far; numbers are never used again."""
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held while the handler runs: it never runs twice at once, whatever crashed meanwhile."""

    def next_run(self) -> int:
        self.run += 1
        return self.run

    def lose(self) -> None:
        """Be somebody else at the next claim, so that nothing of this ownership counts."""
        self.owner = uuid4()

    @property
    def actor(self) -> Any:
        """The subscriber's reference; None for a callable."""
        return None if callable(self.subscriber) else self.subscriber
