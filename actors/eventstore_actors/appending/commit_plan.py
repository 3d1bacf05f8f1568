"""Group commit: which waiting appends share a commit, when to wait for more, what each stored.

Pure: no actor, no thread, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC

import msgspec

from eventstore.model.events import ExpectedVersion
from eventstore.ports.stored_events import (
    Append,
    Committed,
    StoredEvent,
    StreamAppend,
    as_stored,
    placed,
)
from eventstore_actors.state.append_queue import AppendRequest

__all__ = ["CommitPlan", "Gathering", "Group", "Item", "one_by_one", "split", "stored_events"]

MAX_APPENDS = 500
"""Most appends in one commit. More gain nothing, and each delays all others."""

MAX_EVENTS = 10_000
"""Most events in one commit; an append of more is committed alone."""

LOOK_AHEAD = 1_000
"""Most appends that are skipped in the search for others that fit the commit."""


class Item(msgspec.Struct, frozen=True):
    """One append to the storage: one request, or several merged ANY appends to one stream."""

    requests: tuple[AppendRequest, ...]

    @property
    def append(self) -> Append:
        """The events of all its requests, in order."""
        if len(self.requests) == 1:
            return self.requests[0].append
        events = [event for request in self.requests for event in request.append[0].events]
        first = self.requests[0].append[0]
        return (StreamAppend(first.stream_id, first.expected_version, tuple(events)),)


class Group(msgspec.Struct, frozen=True):
    """The appends of one commit. No stream and no event id occurs in two of its items."""

    items: tuple[Item, ...]

    @property
    def requests(self) -> Iterator[AppendRequest]:
        return (request for item in self.items for request in item.requests)

    @property
    def size(self) -> int:
        """Payload bytes of all requests."""
        return sum(request.size for request in self.requests)

    def keeping(self, wanted: Callable[[AppendRequest], bool]) -> Group | None:
        """Return the group without the requests that are not *wanted*; None if none is left."""
        dropped = {request.reply for request in self.requests if not wanted(request)}
        if not dropped:
            return self
        kept = [
            tuple(request for request in item.requests if request.reply not in dropped)
            for item in self.items
        ]
        items = tuple(Item(requests) for requests in kept if requests)
        return Group(items) if items else None


class CommitPlan:
    """The waiting appends, in the order of their arrival.

    An append never overtakes one that shares a stream or an event id with it. An append larger
    than a commit is committed alone, and never twice in a row while a smaller one waits.
    """

    def __init__(
        self, max_commit_bytes: int, max_appends: int = MAX_APPENDS, max_events: int = MAX_EVENTS
    ) -> None:
        self._max_bytes = max_commit_bytes
        self._max_appends = max_appends
        self._max_events = max_events
        self._waiting: deque[AppendRequest] = deque()
        self._last_was_large = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: AppendRequest) -> None:
        """Append *request* to the queue."""
        self._waiting.append(request)

    def next_group(self, now: float) -> tuple[Group | None, list[AppendRequest]]:
        """Take the appends of the next commit out of the plan.

        Args:
            now: Moment of `time.monotonic`.

        Returns:
            The group, or None if nothing waits; and the requests that were dropped because their
            deadline passed.
        """
        expired: list[AppendRequest] = []
        draft = self._draft(now, expired, large_too=not self._last_was_large)
        if draft.is_empty:
            draft = self._draft(now, expired, large_too=True)
        if not draft.is_empty:
            self._last_was_large = draft.is_large
        return draft.group(), expired

    def drain(self) -> list[AppendRequest]:
        """Remove and return all requests."""
        drained = list(self._waiting)
        self._waiting.clear()
        return drained

    def _draft(self, now: float, expired: list[AppendRequest], *, large_too: bool) -> _Draft:
        draft = _Draft(self._max_bytes, self._max_appends, self._max_events, large_too=large_too)
        skipped: list[AppendRequest] = []
        waiting = self._waiting
        while waiting and len(skipped) < LOOK_AHEAD and not draft.is_full:
            request = waiting.popleft()
            if request.deadline <= now:
                expired.append(request)
            elif not draft.take(request):
                skipped.append(request)
        waiting.extendleft(reversed(skipped))
        return draft


class _Draft:
    """A group under construction."""

    def __init__(
        self, max_bytes: int, max_appends: int, max_events: int, *, large_too: bool
    ) -> None:
        self.is_large = False
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._large_too = large_too
        self._bytes_left = max_bytes
        self._events_left = max_events
        self._appends_left = max_appends
        self._items: list[list[AppendRequest]] = []
        self._mergeable: dict[str, list[AppendRequest]] = {}
        """Per stream, the item that further ANY appends join."""
        self._closed: set[str] = set()
        """Streams closed for this commit: used by another item, or by an append that must wait."""
        self._used: set[int] = set()
        """Event ids, as numbers, of the items and of the appends that must wait."""

    @property
    def is_empty(self) -> bool:
        return not self._items

    @property
    def is_full(self) -> bool:
        return self.is_large or self._appends_left == 0

    def group(self) -> Group | None:
        items = tuple(Item(tuple(requests)) for requests in self._items)
        return Group(items) if items else None

    def take(self, request: AppendRequest) -> bool:
        """Add *request* to the group; return False if it must wait for a later commit."""
        append = request.append
        ids = [event.event_id.int for part in append for event in part.events]
        free = self._used.isdisjoint(ids)
        self._used.update(ids)
        if free and self._fits(request.size, len(ids)) and self._add_to_item(request):
            self._bytes_left -= request.size
            self._events_left -= len(ids)
            self._appends_left -= 1
            return True
        for part in append:
            self._close(part.stream_id)
        return False

    def _fits(self, size: int, events: int) -> bool:
        if size > self._max_bytes or events > self._max_events:
            self.is_large = self._large_too and self.is_empty
            return self.is_large
        return size <= self._bytes_left and events <= self._events_left

    def _add_to_item(self, request: AppendRequest) -> bool:
        """Add *request* to a new or a mergeable item; return False if a stream is taken."""
        append = request.append
        if _is_mergeable(append):
            return self._merge(request, append[0].stream_id)
        if any(self._is_taken(part.stream_id) for part in append):
            return False
        self._closed.update(part.stream_id for part in append)
        self._items.append([request])
        return True

    def _merge(self, request: AppendRequest, stream_id: str) -> bool:
        if stream_id in self._closed:
            return False
        item = self._mergeable.get(stream_id)
        if item is None:
            item = self._mergeable[stream_id] = []
            self._items.append(item)
        item.append(request)
        return True

    def _is_taken(self, stream_id: str) -> bool:
        return stream_id in self._closed or stream_id in self._mergeable

    def _close(self, stream_id: str) -> None:
        self._closed.add(stream_id)


def _is_mergeable(append: Append) -> bool:
    return (
        len(append) == 1
        and append[0].expected_version == ExpectedVersion.ANY
        and bool(append[0].events)
    )


def one_by_one(requests: Iterable[AppendRequest]) -> list[Group]:
    """Return a group of its own for each request, in order."""
    return [Group((Item((request,)),)) for request in requests]


def split(item: Item, outcome: Committed) -> list[Committed]:
    """Return the result of each request of *item*, in order."""
    if len(item.requests) == 1:
        return [outcome]
    (whole,) = outcome.results
    version, position = whole.first_version, whole.first_global_position
    assert version is not None
    assert position is not None
    answers = []
    for request in item.requests:
        (part,) = request.append
        result = placed(part, version, position, repeated=whole.repeated)
        answers.append(Committed((result,), outcome.created_at))
        version += len(part.events)
        position += len(part.events)
    return answers


def stored_events(append: Append, committed: Committed) -> Iterator[StoredEvent]:
    """Yield the events of *append* as they are stored in ``$all``, in order."""
    now = committed.created_at
    for part, result in zip(append, committed.results, strict=True):
        version, position = result.first_version, result.first_global_position
        if version is None or position is None:
            continue
        for place, event in enumerate(part.events):
            created_at = now if event.created_at is None else event.created_at.astimezone(UTC)
            yield as_stored(event, part.stream_id, version + place, position + place, created_at)


FEW_EVENTS = 5
"""Most events in a commit, or per append, for which waiting for the callers pays."""

SECONDS_PER_EVENT = 15e-6
"""Seconds per event that the callers of a commit take to send their next appends."""

RETURN_WINDOW = 1e-3
"""Seconds after a commit within which its callers are expected to append again."""


class Gathering:
    """Waits a moment after a small commit, so that its callers share the next one.

    Without the wait, half of the callers commit while the others return, and two callers are no
    faster than one. After a large commit it gains nothing: the next one takes long enough.
    """

    def __init__(self) -> None:
        self._events = 0
        self._ended = 0.0

    def committed(self, appends: int, events: int, now: float, *, others: bool) -> bool:
        """Note a commit.

        Args:
            appends: Number of its appends, each from one caller.
            events: Number of all its events.
            now: When it ended, on `time.monotonic`.
            others: Whether another append waited then. One caller alone has nobody to share with.

        Returns:
            True if its callers should share the next commit, too.
        """
        self._events, self._ended = (events if appends > 1 or others else 0), now
        return appends > 1 and events <= FEW_EVENTS * appends

    def pause(self, now: float) -> float:
        """Return the seconds to wait before the next commit; 0 at a second call."""
        events, self._events = self._events, 0
        return (
            events * SECONDS_PER_EVENT
            if events <= FEW_EVENTS and now < self._ended + RETURN_WINDOW
            else 0.0
        )
