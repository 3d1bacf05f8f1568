"""What a subscription is given: what all of a runtime share, and its own seat in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from eventstore.client.codec import Codec
from eventstore.model.config import Config
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionOptions
from eventstore.ports.storage import Storage
from eventstore_actors.kernel.messages import Ref
from eventstore_actors.kernel.timer import Timer
from eventstore_actors.state.commit_turn import Turn
from eventstore_actors.state.directory import Directory
from eventstore_actors.state.recent_events import Recent
from eventstore_actors.state.subscription_handle import SubscriptionHandle

__all__ = ["Handler", "Seat", "Surroundings"]

Handler = Callable[[Events], None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all subscriptions of a runtime share."""

    config: Config
    storage: Storage
    codec: Codec
    recent: Recent
    timer: Timer
    directory: Directory
    supervisor: Ref | None
    turn: Turn = field(default_factory=Turn)


@dataclass(slots=True, eq=False)
class Seat:
    """What of a subscription outlives a crash of its actor."""

    handle: SubscriptionHandle
    subscriber: Ref | Handler
    options: SubscriptionOptions
    owner: UUID = field(default_factory=uuid4)
    """Claims of one owner never fence each other, so a restarted actor goes on at once."""
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
