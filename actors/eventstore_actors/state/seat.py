"""The state of a subscription that survives a crash of its actor."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from eventstore.client.coroutine_handler import CoroutineHandler
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionOptions
from eventstore.ports.ownership import Fence
from eventstore_actors.kernel.messages import Ref
from eventstore_actors.state.subscription_handle import SubscriptionHandle

__all__ = ["Handler", "Seat", "is_of_this_process"]

Handler = Callable[[Events], None]

_owners: set[UUID] = set()
"""The owner ids of all seats in this process, whatever store they belong to."""

# A forked child has none of its parent's subscriptions.
os.register_at_fork(after_in_child=_owners.clear)


def is_of_this_process(owner: UUID) -> bool:
    """Return whether a seat of this process has that owner id."""
    return owner in _owners


@dataclass(slots=True, eq=False)
class Seat:
    """The state of a subscription that survives a crash of its actor."""

    handle: SubscriptionHandle
    subscriber: Ref | Handler | CoroutineHandler
    options: SubscriptionOptions
    owner: UUID = field(default_factory=uuid4)
    """Claims of the same owner do not fence each other, so a restarted actor goes on at once."""
    subscription_id: int | None = None
    """Id of the subscription; None until the first claim was answered, unless it is known."""
    position_id: int | None = None
    """None until the first claim was answered."""
    fence: Fence | None = None
    """Of the newest claim that succeeded."""
    run: int = 0
    """Number of the last delivery run; never reused."""
    handler_lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while the handler runs, so that it never runs twice at once, even after a crash."""
    preparing_lock: threading.Lock = field(default_factory=threading.Lock)
    """The same for serializer, selector and mapper."""

    def __post_init__(self) -> None:
        _owners.add(self.owner)

    def next_run(self) -> int:
        self.run += 1
        return self.run

    def change_owner(self) -> None:
        """Take a new owner id, so that the next claim fences off everything from before."""
        _owners.discard(self.owner)
        self.owner = uuid4()
        _owners.add(self.owner)

    def leave(self) -> None:
        """Give the seat up: nobody in this process claims with its owner id any more."""
        _owners.discard(self.owner)

    @property
    def actor(self) -> Any:
        """The subscriber, if it is an actor; None for a function."""
        is_function = callable(self.subscriber) or isinstance(self.subscriber, CoroutineHandler)
        return None if is_function else self.subscriber
