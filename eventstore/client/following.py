"""Follow a stream live, without a subscription: read what is stored, then wait for what comes."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Self
from weakref import WeakSet, ref

from eventstore.client.paging import PAGE_BYTES, Decode, Page
from eventstore.model.errors import EventStoreError, StreamNotFoundError
from eventstore.model.events import RecordedEvent
from eventstore.ports.runtime import Wake
from eventstore.ports.stored_events import StoredEvent

__all__ = ["Follower", "Followers"]


class Follower(Iterator[RecordedEvent]):
    """Iterates over a stream or ``$all`` as `EventStore.follow_stream` says, until it is closed.

    One thread iterates. `position` may be read, and `close` called, by any.
    """

    def __init__(
        self,
        read: Page,
        decode: Decode,
        watch: Callable[[Wake], None],
        start: int,
        *,
        batch_size: int,
        poll_interval: float,
        idle_timeout: float | None,
    ) -> None:
        """Begin after the position *start*.

        Args:
            read: Reads one page.
            decode: Makes the event of what is stored.
            watch: Asks the runtime to call a function when there may be new events.
            start: Last position that is left out; 0: none is.
            batch_size: Most events of a page.
            poll_interval: Seconds after which to look although nothing was heard.
            idle_timeout: Seconds that a step waits for an event; None: no limit.
        """
        self.position = start
        """Position of the event yielded last; before the first, where it began."""
        self._read = read
        self._decode = decode
        self._watch = watch
        self._batch_size = batch_size
        self._poll_interval = poll_interval
        self._idle_timeout = math.inf if idle_timeout is None else idle_timeout
        self._page = deque[StoredEvent]()
        self._news = threading.Event()
        self._closed = False
        self._wake = _waker(self)
        self._watch_at = -math.inf

    def close(self) -> None:
        """End the iteration, also while it waits. Idempotent; from any thread."""
        self._closed = True
        self._news.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> RecordedEvent:
        until = time.monotonic() + self._idle_timeout
        while not self._closed:
            if self._page:
                stored = self._page.popleft()
                # First, so that the next step goes on after an event that cannot be read.
                self.position = stored.position
                return self._decode(stored)
            # Before the read, so that what comes during it is not missed.
            self._news.clear()
            self._page.extend(self._read_page())
            if not (self._page or self._wait(until)):
                break
        self.close()
        raise StopIteration

    def heard(self, position: int | None) -> bool:
        """Note that there may be events up to *position*; return whether that is of interest."""
        if position is None or position > self.position:
            self._news.set()
        return not self._closed

    def _read_page(self) -> list[StoredEvent]:
        try:
            return self._read(self.position + 1, self._batch_size, PAGE_BYTES)
        except StreamNotFoundError:
            return []
        except EventStoreError:
            if self._closed:
                return []
            raise

    def _wait(self, until: float) -> bool:
        """Wait until there may be news, at most `poll_interval`; return False at *until*."""
        now = time.monotonic()
        if now >= until:
            return False
        if now >= self._watch_at:
            # Again now and then: a part of the runtime that was restarted has forgotten it.
            self._watch(self._wake)
            self._watch_at = now + self._poll_interval
        self._news.wait(min(self._poll_interval, until - now))
        return True


class Followers:
    """Those of one store, which end with it."""

    def __init__(self) -> None:
        self._all = WeakSet[Follower]()
        self._lock = threading.Lock()

    def add(self, follower: Follower) -> Follower:
        """Close *follower* with the others, if somebody still holds it then; return it."""
        with self._lock:
            self._all.add(follower)
        return follower

    def close(self) -> None:
        with self._lock:
            found = list(self._all)
        for follower in found:
            follower.close()


def _waker(follower: Follower) -> Wake:
    """Return what the runtime calls; a follower that nobody holds is not kept alive by it."""
    weak = ref(follower)

    def wake(position: int | None) -> bool:
        followed = weak()
        return followed is not None and followed.heard(position)

    return wake
