"""Subscribers that remember what they were told."""

from __future__ import annotations

from collections import deque
from itertools import chain
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import pykka

from eventstore import Events, Subscribed, Subscription, SubscriptionLost
from tests.conformance.conftest import POLL_INTERVAL

__all__ = ["Handler", "Subscriber", "flat", "numbers"]

PATIENCE = 30.0
"""Seconds until a test gives up to wait for what must come."""

QUIET = 4 * POLL_INTERVAL
"""Seconds in which what must not come would have come."""

_Message = TypeVar("_Message")


def numbers(events: Events) -> list[int]:
    """Return the numbers that a batch of `numbered` events carries."""
    return [event.data["event"] for event in events]


def flat(batches: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


class _Recorder(pykka.ThreadingActor):
    def __init__(self, inbox: SimpleQueue[Any], *, acknowledges: bool) -> None:
        super().__init__()
        self._inbox = inbox
        self._acknowledges = acknowledges

    def on_receive(self, message: Any) -> None:
        if self._acknowledges and isinstance(message, Events):
            message.subscription.ack(message)
        self._inbox.put(message)


class Subscriber:
    """An actor that is told events; acknowledges them itself, or leaves that to the test."""

    def __init__(self, *, acknowledges: bool = False) -> None:
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._looked_at: deque[Any] = deque()
        self.ref = _Recorder.start(self._inbox, acknowledges=acknowledges)

    def subscribed(self) -> Subscription:
        """Wait for the start of a run."""
        return self._next(Subscribed).subscription

    def batch(self) -> Events:
        """Wait for a batch."""
        return self._next(Events)

    def acknowledged_batch(self) -> Events:
        """Wait for a batch and acknowledge it."""
        batch = self.batch()
        batch.subscription.ack(batch)
        return batch

    def acknowledged_batches(self, events: int) -> list[list[int]]:
        """Acknowledge batch after batch until *events* events came; return their numbers."""
        batches: list[list[int]] = []
        while sum(map(len, batches)) < events:
            batches.append(numbers(self.acknowledged_batch()))
        return batches

    def numbers(self, count: int) -> list[int]:
        """Wait for *count* events in however many batches; return their numbers."""
        found: list[int] = []
        while len(found) < count:
            found += numbers(self.batch())
        return found

    def positions(self, count: int) -> list[int]:
        """Wait for *count* events in however many batches; return their positions."""
        found: list[int] = []
        while len(found) < count:
            found += [event.position for event in self.batch()]
        return found

    def waiting_positions(self) -> set[int]:
        """Look at what came already; it can be waited for afterwards."""
        while not self._inbox.empty():
            self._looked_at.append(self._inbox.get())
        batches = [message for message in self._looked_at if isinstance(message, Events)]
        return {event.position for batch in batches for event in batch}

    def lost(self) -> SubscriptionLost:
        """Wait to be told that it is not ours any more."""
        return self._next(SubscriptionLost)

    def is_told_nothing(self) -> bool:
        """Wait for what should not come."""
        try:
            self._inbox.get(timeout=QUIET)
        except Empty:
            return True
        return False

    def die(self) -> None:
        self.ref.stop(block=True, timeout=PATIENCE)

    def _next(self, kind: type[_Message]) -> _Message:
        looked_at = self._looked_at
        message = looked_at.popleft() if looked_at else self._inbox.get(timeout=PATIENCE)
        assert isinstance(message, kind), f"expected {kind.__name__}: {message}"
        return message


class Handler:
    """A callable that remembers the numbers of each batch, and then does as it is told."""

    def __init__(self, *outcomes: BaseException | Any) -> None:
        """Raise or return one of *outcomes* per call, then None for ever."""
        self._outcomes = list(outcomes)
        self._calls: SimpleQueue[list[int]] = SimpleQueue()

    def __call__(self, events: Events) -> Any:
        self._calls.put(numbers(events))
        outcome = self._outcomes.pop(0) if self._outcomes else None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def call(self) -> list[int]:
        """Wait for a call; the numbers of its batch."""
        return self._calls.get(timeout=PATIENCE)

    def is_not_called(self) -> bool:
        """Wait for a call that should not come."""
        try:
            self._calls.get(timeout=QUIET)
        except Empty:
            return True
        return False
