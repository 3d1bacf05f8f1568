"""Subscribers that record their messages: an actor and a function."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pykka

from eventstore import Events, RecordedEvent, Subscribed, SubscriptionLost, SubscriptionLostError
from tests.support.waiting import wait_until

__all__ = ["Recorder", "Seen", "Stuck"]


class Seen:
    """The messages of a subscriber, in order."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def handle(self, events: Events) -> None:
        """Record a batch and acknowledge it; the function subscriber."""
        self.messages.append(events)

    @property
    def batches(self) -> list[Events]:
        return [message for message in list(self.messages) if isinstance(message, Events)]

    @property
    def events(self) -> list[RecordedEvent]:
        return [event for batch in self.batches for event in batch]

    @property
    def positions(self) -> list[int]:
        return [event.position for event in self.events]

    def wait(self, count: int, timeout: float = 30.0) -> list[int]:
        """Wait until *count* events in total have come; return the positions of all."""
        wait_until(lambda: len(self.events) >= count, timeout)
        return self.positions

    @property
    def runs(self) -> int:
        return sum(isinstance(message, Subscribed) for message in list(self.messages))

    @property
    def lost(self) -> list[SubscriptionLost]:
        return [message for message in list(self.messages) if isinstance(message, SubscriptionLost)]


class Recorder(pykka.ThreadingActor):
    """Records its messages in *seen*; acknowledges every batch if *acks*."""

    def __init__(self, seen: Seen, *, acks: bool = True) -> None:
        super().__init__()
        self._seen = seen
        self._acks = acks

    def on_receive(self, message: object) -> None:
        self._seen.messages.append(message)
        if self._acks and isinstance(message, Events):
            with contextlib.suppress(SubscriptionLostError):
                message.subscription.ack(message)


class Stuck:
    """A function that does not return from a batch until it is released."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()
        self.positions: list[int] = []

    def __call__(self, events: Events) -> None:
        self.positions += [event.position for event in events]
        self.entered.set()
        self.released.wait(60)
