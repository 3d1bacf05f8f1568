"""Follow a stream live, without a subscription: read what is stored, then wait for what comes."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar
from weakref import WeakSet, ref

from eventstore.client.decoded import Decoded, decoded
from eventstore.client.paging import PAGE_BYTES, Decode, Page
from eventstore.model.errors import EventStoreError, StreamNotFoundError
from eventstore.model.events import RecordedEvent
from eventstore.ports.reads import Examined
from eventstore.ports.runtime import Wake
from eventstore.ports.stored_events import StoredEvent
from eventstore.ports.waits import Waits, run_blocking

__all__ = ["AsyncFollower", "FollowSettings", "Follower", "Followers"]


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """What a follower is made of."""

    read: Page
    """Reads one page."""
    decode: Decode
    """Makes the event of what is stored."""
    watch: Callable[[Wake], None]
    """Asks the runtime to call a function when there may be new events."""
    batch_size: int = field(kw_only=True)
    """Most events of a page."""
    poll_interval: float = field(kw_only=True)
    """Seconds after which to look although nothing was heard."""
    idle_timeout: float | None = field(kw_only=True)
    """Seconds that a step waits for an event; None: no limit."""


_Item = TypeVar("_Item", StoredEvent, Decoded)


class Following(ABC, Generic[_Item]):
    """The state of an iteration over a stream or ``$all``, and its steps."""

    def __init__(self, settings: FollowSettings, start: int, waits: Waits) -> None:
        """Begin after the position *start*; 0: with the first event."""
        self.position = start
        """How far it has come: the position of the event yielded last, or of one after it up to
        which no event matches the filter; before the first, where it began."""
        self._settings = settings
        self._waits = waits
        self._page: deque[_Item] = deque()
        self._page_end = start
        """Up to where the page was looked for."""
        self._news = waits.signal()
        self._closed = False
        self._wake = _waker(self)
        self._watch_at = -math.inf

    def close(self) -> None:
        """End the iteration, also while it waits. Idempotent; from any thread."""
        self._closed = True
        self._news.set()

    async def step(self) -> RecordedEvent | None:
        """Return the next event; None at the end."""
        idle = self._settings.idle_timeout
        until = math.inf if idle is None else time.monotonic() + idle
        while not self._closed:
            if self._page:
                item = self._page.popleft()
                # First, so that the next step goes on after an event that cannot be read.
                self.position = item.position
                return self._event(item)
            self.position = self._page_end
            # Before the read, so that what comes during it is not missed.
            self._news.clear()
            items, self._page_end, at_end = await self._waits.call(self._read_items)
            self._page.extend(items)
            if items:
                continue
            self.position = self._page_end
            if at_end and not await self._wait(until):
                break
        self.close()
        return None

    def heard(self, position: int | None) -> bool:
        """Note that there may be events up to *position*; return whether that is of interest."""
        if position is None or position > self.position:
            self._news.set()
        return not self._closed

    @abstractmethod
    def _items(self, page: list[StoredEvent]) -> list[_Item]:
        """Make of a page what is kept until it is reached."""

    @abstractmethod
    def _event(self, item: _Item) -> RecordedEvent:
        """Return the event of what is kept."""

    def _read_items(self) -> tuple[list[_Item], int, bool]:
        """Read a page. Return its items, where it ends, and whether that is the end for now."""
        events, up_to, at_end = self._read_page()
        return self._items(events), up_to, at_end

    def _read_page(self) -> Examined:
        nothing = Examined([], self.position, at_end=True)
        try:
            return self._settings.read(self.position + 1, self._settings.batch_size, PAGE_BYTES)
        except StreamNotFoundError:
            return nothing
        except EventStoreError:
            if self._closed:
                return nothing
            raise

    async def _wait(self, until: float) -> bool:
        """Wait until there may be news, at most `poll_interval`; return False at *until*."""
        now, poll_interval = time.monotonic(), self._settings.poll_interval
        if now >= until:
            return False
        if now >= self._watch_at:
            # Again now and then: a part of the runtime that was restarted has forgotten it.
            self._settings.watch(self._wake)
            self._watch_at = now + poll_interval
        await self._news.wait(min(poll_interval, until - now))
        return True


class Follower(Following[StoredEvent], Iterator[RecordedEvent]):
    """Iterates over a stream or ``$all`` as `EventStore.follow_stream` says, until it is closed.

    One thread iterates. `position` may be read, and `close` called, by any.
    """

    def _items(self, page: list[StoredEvent]) -> list[StoredEvent]:
        return page

    def _event(self, item: StoredEvent) -> RecordedEvent:
        return self._settings.decode(item)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> RecordedEvent:
        event = run_blocking(self.step())
        if event is None:
            raise StopIteration
        return event


class AsyncFollower(Following[Decoded], AsyncIterator[RecordedEvent]):
    """Iterates as `AsyncEventStore.follow_stream` says, until it is closed.

    One task iterates. `position` may be read, and `close` called, by any, and by any thread.
    """

    def __init__(
        self, settings: FollowSettings, start: int | Callable[[], int], waits: Waits
    ) -> None:
        """Begin after the position *start*, or after the one that the first step has it return."""
        super().__init__(settings, start if isinstance(start, int) else 0, waits)
        self._start = None if isinstance(start, int) else start

    def _items(self, page: list[StoredEvent]) -> list[Decoded]:
        return decoded(page, self._settings.decode)

    def _event(self, item: Decoded) -> RecordedEvent:
        return item.get()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def __anext__(self) -> RecordedEvent:
        if self._start is not None:
            self.position = self._page_end = await self._waits.call(self._start)
            self._start = None
        event = await self.step()
        if event is None:
            raise StopAsyncIteration
        return event


_Follower = TypeVar("_Follower", bound=Following[Any])


class Followers:
    """Those of one store, which end with it."""

    def __init__(self) -> None:
        self._all = WeakSet[Following[Any]]()
        self._lock = threading.Lock()

    def add(self, follower: _Follower) -> _Follower:
        """Close *follower* with the others, if somebody still holds it then; return it."""
        with self._lock:
            self._all.add(follower)
        return follower

    def close(self) -> None:
        with self._lock:
            found = list(self._all)
        for follower in found:
            follower.close()


def _waker(follower: Following[Any]) -> Wake:
    """Return what the runtime calls; a follower that nobody holds is not kept alive by it."""
    weak = ref(follower)

    def wake(position: int | None) -> bool:
        followed = weak()
        return followed is not None and followed.heard(position)

    return wake
