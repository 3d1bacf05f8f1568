"""Which of the waiting appends share the next commit. Pure: no actor, no thread, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC

import msgspec

from eventstore.model.events import AppendResult, ExpectedVersion
from eventstore.ports.stored_events import (
    Append,
    Committed,
    StoredEvent,
    StreamAppend,
    as_stored,
)
from eventstore_actors.state.append_queue import AppendRequest

__all__ = ["CommitPlan", "Gathering", "Group", "Item", "one_by_one", "split", "stored_events"]

FEW = 5
"""Events in a commit up to which waiting for its callers is worth it; and in an append, sharing."""

EACH = 15e-6
"""Seconds that a caller takes to come back, each after the other."""

SOON = 1e-3
"""Seconds after a commit in which its callers may be on their way."""


class Gathering:
    """Lets a few callers that append one event after the other share their commits.

    Else half of them commit while the others come back, in turn, and two callers are no faster than
    one. After a commit of many it would gain nothing: they come back while the next one runs.
    """

    def __init__(self) -> None:
        self._events = 0
        self._ended = 0.0

    def committed(self, appends: int, events: int, now: float) -> bool:
        """Note a commit; tell whether its callers had better share the next one, too.

        Args:
            appends: How many it had; each of them has a caller.
            events: How many all of them had together.
            now: When it ended.
        """
        self._events, self._ended = events, now
        return appends > 1 and events <= FEW * appends

    def pause(self, now: float) -> float:
        """Return the seconds to wait before the next commit; 0 when asked again."""
        events, self._events = self._events, 0
        return events * EACH if events <= FEW and now < self._ended + SOON else 0.0


def stored_events(append: Append, committed: Committed) -> Iterator[StoredEvent]:
    """Yield the events of *append* as ``$all`` shows them, in order."""
    now = committed.created_at
    for part, result in zip(append, committed.results, strict=True):
        version, position = result.first_version, result.first_global_position
        if version is None or position is None:
            continue
        for place, event in enumerate(part.events):
            created_at = now if event.created_at is None else event.created_at.astimezone(UTC)
            yield as_stored(event, part.stream_id, version + place, position + place, created_at)


MAX_APPENDS = 500
"""Appends that share one commit: more gain nothing, and each delays all the others."""

MAX_EVENTS = 10_000
"""Events that share one commit; an append of more goes alone."""

LOOK_AHEAD = 1_000
"""Appends that may stay behind while those after them are looked at."""


class Item(msgspec.Struct, frozen=True):
    """What the storage sees as one append: one request, or several ANY appends to one stream."""

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
    """The appends of one commit: no stream and no event id occurs in two of its items."""

    items: tuple[Item, ...]

    @property
    def requests(self) -> Iterator[AppendRequest]:
        return (request for item in self.items for request in item.requests)

    @property
    def size(self) -> int:
        """Bytes of its payloads."""
        return sum(request.size for request in self.requests)

    def keeping(self, wanted: Callable[[AppendRequest], bool]) -> Group | None:
        """Return the group with the *wanted* requests only; None if there are none."""
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
    """The appends that wait, in the order of their arrival.

    An append never overtakes one before it that shares a stream or an event id with it. One that
    is larger than a commit goes alone, and never twice in a row while smaller ones could go.
    """

    def __init__(
        self, max_commit_bytes: int, max_appends: int = MAX_APPENDS, max_events: int = MAX_EVENTS
    ) -> None:
        self._max_bytes = max_commit_bytes
        self._max_appends = max_appends
        self._max_events = max_events
        self._waiting: deque[AppendRequest] = deque()
        self._large_went = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: AppendRequest) -> None:
        """Take *request* as the last one."""
        self._waiting.append(request)

    def next_group(self, now: float) -> tuple[Group | None, list[AppendRequest]]:
        """Take the appends of the next commit out of the plan.

        Args:
            now: Moment of `time.monotonic`.

        Returns:
            The group, or None if nothing waits; and the requests whose deadline passed: they are
            in no group.
        """
        expired: list[AppendRequest] = []
        draft = self._drafted(now, expired, large_too=not self._large_went)
        if draft.is_empty:
            draft = self._drafted(now, expired, large_too=True)
        if not draft.is_empty:
            self._large_went = draft.is_large
        return draft.group(), expired

    def drain(self) -> list[AppendRequest]:
        """Take everything out of the plan."""
        drained = list(self._waiting)
        self._waiting.clear()
        return drained

    def _drafted(self, now: float, expired: list[AppendRequest], *, large_too: bool) -> _Draft:
        draft = _Draft(self._max_bytes, self._max_appends, self._max_events, large_too=large_too)
        behind: list[AppendRequest] = []
        waiting = self._waiting
        while waiting and len(behind) < LOOK_AHEAD and not draft.is_full:
            request = waiting.popleft()
            if request.deadline <= now:
                expired.append(request)
            elif not draft.take(request):
                behind.append(request)
        waiting.extendleft(reversed(behind))
        return draft


class _Draft:
    """A group while it is formed."""

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
        """Per stream the item that further ANY appends to it may join."""
        self._closed: set[str] = set()
        """Streams that nothing more may go to: of other items, and of what stays behind."""
        self._used: set[int] = set()
        """Event ids, as numbers, of the items and of what stays behind."""

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
        """Take *request* into the group; False if it has to stay behind."""
        append = request.append
        ids = [event.event_id.int for part in append for event in part.events]
        free = self._used.isdisjoint(ids)
        self._used.update(ids)
        if free and self._fits(request.size, len(ids)) and self._place(request):
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

    def _place(self, request: AppendRequest) -> bool:
        """Put *request* into an item; False if its streams are not free."""
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
    """Return a group for each request alone, in order."""
    return [Group((Item((request,)),)) for request in requests]


def split(item: Item, outcome: Committed) -> list[Committed]:
    """Return what each request of *item* stored, in order."""
    if len(item.requests) == 1:
        return [outcome]
    (whole,) = outcome.results
    version, position = whole.first_version, whole.first_global_position
    assert version is not None
    assert position is not None
    answers = []
    for request in item.requests:
        count = len(request.append[0].events)
        result = _result(whole.stream_id, version, position, count)
        answers.append(Committed((result,), outcome.created_at, outcome.repeated))
        version += count
        position += count
    return answers


def _result(stream_id: str, version: int, position: int, count: int) -> AppendResult:
    return AppendResult(
        stream_id=stream_id,
        first_version=version,
        last_version=version + count - 1,
        first_global_position=position,
        last_global_position=position + count - 1,
    )
