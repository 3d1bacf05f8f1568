"""The state of a subscription that survives a crash of its actor."""

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
    """The state of a subscription that survives a crash of its actor."""

    handle: SubscriptionHandle
    subscriber: Ref | Handler
    options: SubscriptionOptions
    owner: UUID = field(default_factory=uuid4)
    """Claims of the same owner do not fence each other, so a restarted actor goes on at once."""
    subscription_id: int | None = None
    """Id of the subscription; None until the first claim was answered."""
    position_id: int | None = None
    run: int = 0
    """Number of the last delivery run; never reused."""
    handler_lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while the handler runs, so that it never runs twice at once, even after a crash."""

    def next_run(self) -> int:
        self.run += 1
        return self.run

    def change_owner(self) -> None:
        """Take a new owner id, so that the next claim fences off everything from before."""
        self.owner = uuid4()

    @property
    def actor(self) -> Any:
        """The subscriber, if it is an actor; None for a callable."""
        return None if callable(self.subscriber) else self.subscriber
