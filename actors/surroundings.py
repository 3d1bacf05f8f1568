"""What a subscription is given: what all of a runtime share, and its own seat in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from actors.directory import Directory
from actors.handle import SubscriptionHandle
from actors.messages import Ref
from actors.recent import Recent
from actors.timer import Timer
from actors.turn import Turn
from eventstore.codec import Codec
from eventstore.config import Config
from eventstore.messages import Events
from eventstore.storage import Storage
from eventstore.subscription import SubscriptionOptions

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
