"""The limit of delivery: psycopg reads pages in one loop and stores a checkpoint for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from itertools import count

import msgspec
import psycopg
from uuid_utils.compat import uuid7

from benchmarks.contenders.bare import Bare
from benchmarks.contenders.contender import Operation
from benchmarks.contenders.load import EVENT_TYPE, new_stream
from eventstore import ExpectedVersion, RecordedEvent, SubscriptionState
from eventstore.ports.ownership import Fence, Progress
from eventstore.ports.stored_events import EncodedEvent, StreamAppend

__all__ = ["BareSubscriber"]

_LEASE = 60.0
_PATIENCE = 60.0

_encode = msgspec.json.Encoder().encode


class BareSubscriber(Bare):
    """Builds the events that a subscriber gets and calls one function with each."""

    def catch_up(self, after: int, received: Callable[[RecordedEvent], object]) -> int:
        """Deliver every event after a position, with a checkpoint per page; return their number."""
        fence = self._claim().fence
        total = 0
        while page := self._page_after(after):
            for event in page:
                received(event)
            total += len(page)
            after = page[-1].position
            self._keep(fence, after)
        return total

    def checkpointer(self) -> Operation:
        """Return an operation that stores the next checkpoint of a subscription, starting at 1."""
        fence = self._claim().fence
        positions = count(1)
        return lambda: self._keep(fence, next(positions))

    def follow(
        self, number: int, received: Callable[[RecordedEvent], object], ready: threading.Event
    ) -> None:
        """Deliver the next *number* events once *ready* is set; each notification causes a read."""
        with psycopg.connect(self.address, autocommit=True) as heard:
            heard.execute(self.statements.listen)
            position: int = self.execute(self.statements.head, ())[0][0]
            last = position + number
            ready.set()
            for _ in heard.notifies(timeout=_PATIENCE):
                for event in self._page_after(position):
                    position = event.position
                    received(event)
                if position >= last:
                    return
        raise TimeoutError(f"nothing was announced after position {position} of {last}")

    def _keep(self, fence: Fence, position: int) -> None:
        progress = Progress(fence, position, SubscriptionState.LIVE, None, 0)
        self._keeper.keep([progress], _LEASE, time.monotonic() + _LEASE)

    def append_each(self, payloads: Iterable[object]) -> None:
        """Append one event per payload in one commit, each to a new stream; announce it."""
        events = [EncodedEvent(uuid7(), EVENT_TYPE, _encode(data)) for data in payloads]
        self._append(
            (StreamAppend(new_stream(), ExpectedVersion.NO_STREAM, (event,)),) for event in events
        )
        self.execute(self.statements.notify, ("200ms", self.statements.channel, "e"))
