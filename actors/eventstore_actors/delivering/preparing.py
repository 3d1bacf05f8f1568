"""Prepares pages of stored events where user code takes part: decode, select, map.

It runs in a thread of its own for each subscription, never in the actor that holds the lease.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pykka

from eventstore.client.codec import Codec
from eventstore.client.filtering import Filtering
from eventstore.model.caught_error import CaughtError
from eventstore.model.checks import shown
from eventstore.model.plain_functions import is_promise, withdraw
from eventstore.model.subscription import SubscriptionOptions
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.delivering.delivery import Delivery
from eventstore_actors.kernel.actor import SupervisedActor, try_tell
from eventstore_actors.kernel.messages import Ref, Stop
from eventstore_actors.state.seat import Seat
from eventstore_actors.state.subscription_handle import SubscriptionHandle

__all__ = ["Overdue", "Prepared", "Preparer", "Preparing", "Steps"]

_LEFT_OUT = object()
"""The result of the steps for an event that the selector left out."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """From a preparer to its subscription: the page is done, up to its end or to a failure."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """User code that has not returned for too long."""

    step: str
    """``serializer``, ``selector`` or ``mapper``."""
    position: int
    """Position of the event that it was called with."""


class Page:
    """Stored events on their way through user code.

    The preparer alone works on it. The subscription's actor looks at it at any time: each field is
    written by one of the two threads.
    """

    def __init__(self, events: Sequence[StoredEvent], up_to: int) -> None:
        self.events = events
        self.up_to = up_to
        """Up to where the page was looked for."""
        self.results: deque[tuple[int, StoredEvent, Any]] = deque()
        """What the delivery has not taken yet: the event, its result, and `left_out` before it."""
        self.left_out = 0
        """Up to where nothing is delivered after the results."""
        self.failure: CaughtError | None = None
        self.is_dropped = False
        """Set by the actor: the rest need not be prepared."""
        self.step = "serializer"
        self.position = events[0].position
        self.moved_at = time.monotonic()
        """When the steps for the current event began."""

    def put_into(self, delivery: Delivery) -> None:
        """Move the results so far into *delivery*; called by the actor."""
        # Read before the results: everything in front of it is among them by now.
        left_out, results = self.left_out, self.results
        while results:
            before, stored, event = results.popleft()
            _pass_over(delivery, before)
            place = stored.position, stored.stream_id, stored.size
            delivery.put_in(*place, event, stored.global_position)
        _pass_over(delivery, left_out)


def _pass_over(delivery: Delivery, position: int) -> None:
    if position > delivery.read_up_to:
        delivery.pass_over(position)


class Steps:
    """The steps from a stored event to what is delivered: filter, decode, select, map."""

    def __init__(self, codec: Codec, options: SubscriptionOptions) -> None:
        event_filter = options.event_filter
        self.filtering = None if event_filter is None else Filtering(event_filter, codec)
        self.decode = codec.decode
        self._select = options.selector
        self._map = options.mapper
        self.are_plain = (
            codec.is_plain
            and options.metadata is None
            and options.selector is None
            and options.mapper is None
        )
        """They are only to decode, and run no user code, so any thread may take them."""

    def take(self, page: Page) -> None:
        """Prepare the events of *page* up to its end, or to the first one that fails.

        Nothing is raised, not even a SystemExit: user code must not end the actor.
        """
        try:
            for stored in page.events:
                if page.is_dropped:
                    return
                result = self._result(stored, page)
                if result is _LEFT_OUT:
                    page.left_out = stored.position
                else:
                    page.results.append((page.left_out, stored, result))
            page.left_out = page.up_to
        except BaseException as error:  # noqa: BLE001 - the subscription reports and retries it
            page.failure = CaughtError.of(error)

    def _result(self, stored: StoredEvent, page: Page) -> Any:
        page.position, page.step, page.moved_at = stored.position, "serializer", time.monotonic()
        if self.filtering is not None and not self.filtering.wants(stored):
            return _LEFT_OUT
        event = self.decode(stored)
        if self._select is not None:
            page.step = "selector"
            if not _checked_choice(self._select(event)):
                return _LEFT_OUT
        if self._map is None:
            return event
        page.step = "mapper"
        return _checked_value(self._map(event))


def _checked_choice(returned: Any) -> bool:
    """Return what a selector returned; whatever is no bool decides nothing."""
    if returned is True or returned is False:
        return bool(returned)
    text = shown(returned)
    withdraw(returned)
    raise TypeError(f"the selector returned {text}; it must return True or False")


def _checked_value(returned: Any) -> Any:
    """Return what a mapper returned, unless that is work that nobody would do."""
    if not is_promise(returned):
        return returned
    text = shown(returned)
    withdraw(returned)
    raise TypeError(f"the mapper returned {text}, which would never run; return the value itself")


@dataclass(frozen=True, slots=True)
class _Prepare:
    """From a subscription to its preparer: take the steps for this page."""

    page: Page


class Preparer(SupervisedActor):
    """An actor that runs the serializer, selector and mapper of a seat, one page at a time."""

    def __init__(self, seat: Seat, steps: Steps, subscription: Ref, role: str) -> None:
        super().__init__(role, None)
        self._seat = seat
        self._steps = steps
        self._subscription = subscription

    @property
    def handle(self) -> SubscriptionHandle:
        """The handle of its subscription."""
        return self._seat.handle

    def receive(self, message: Any) -> None:
        match message:
            case _Prepare(page):
                # After a crash the previous actor may still be in the selector.
                with self._seat.preparing_lock:
                    self._steps.take(page)
                try_tell(self._subscription, Prepared())
            case _:
                raise TypeError(f"unexpected message: {shown(message)}")


class Preparing:
    """The page of one subscription that is being prepared; used by the subscription's actor alone.

    One page at a time, also if it is not wanted any more: what a subscription that hangs has read
    stays bounded. The preparer is started for the first page.
    """

    def __init__(self, seat: Seat, steps: Steps, subscription: Ref) -> None:
        self._seat = seat
        self._steps = steps
        self._subscription = subscription
        self._page: Page | None = None
        self._preparer: Ref | None = None

    @property
    def is_busy(self) -> bool:
        """A page is with the preparer, wanted or not."""
        return self._page is not None

    def begin(self, events: Sequence[StoredEvent], up_to: int) -> None:
        """Have a page prepared, which ends at *up_to*; a `Prepared` follows."""
        if self._preparer is None:
            role = f"subscription {self._seat.handle.subscription_name} preparer"
            self._preparer = Preparer.start(self._seat, self._steps, self._subscription, role)
        self._page = Page(events, up_to)
        self._preparer.tell(_Prepare(self._page))

    def take(self, delivery: Delivery) -> None:
        """Put into *delivery* what is prepared so far."""
        if self._page is not None and not self._page.is_dropped:
            self._page.put_into(delivery)

    def end(self) -> Page | None:
        """Take the page that a `Prepared` reported; None if it was dropped."""
        page, self._page = self._page, None
        if page is None or page.is_dropped:
            return None
        return page

    def drop(self) -> bool:
        """Have the rest of the page forgotten; return False if no page was wanted."""
        if self._page is None or self._page.is_dropped:
            return False
        self._page.is_dropped = True
        return True

    def overdue_at(self, timeout: float | None) -> float | None:
        return None if timeout is None or self._page is None else self._page.moved_at + timeout

    def overdue(self, timeout: float | None) -> Overdue | None:
        """Return the user code that has not returned for *timeout* seconds, if any."""
        page, due = self._page, self.overdue_at(timeout)
        if page is None or due is None or time.monotonic() < due:
            return None
        return Overdue(page.step, page.position)

    def check(self) -> None:
        """Return if the preparer lives, or has nothing to do.

        Raises:
            RuntimeError: It died, so its page will never be ready.
        """
        if self._page is not None and self._preparer is not None and not self._preparer.is_alive():
            raise RuntimeError("the preparer of the subscription died")

    def close(self, deadline: float) -> str | None:
        """End the preparer.

        Returns:
            The step that is still running at *deadline*; None if everything has ended.
        """
        self.drop()
        reply = pykka.ThreadingFuture[None]()
        if not try_tell(self._preparer, Stop(deadline, reply)):
            return None
        try:
            reply.get(timeout=max(0.0, deadline - time.monotonic()))
        except pykka.Timeout:
            return "serializer" if self._page is None else self._page.step
        return None
