"""Well and badly behaved subscribers: prompt, slow, late, hanging, raising, dying.

All note what they receive and acknowledge.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pykka

from eventstore import (
    Events,
    EventStoreError,
    RecordedEvent,
    Retry,
    Subscribed,
    Subscription,
    SubscriptionLost,
)
from tests.torture.deletions import DOOMED
from tests.torture.journal import Journal
from tests.torture.links import LINKED
from tests.torture.parking import PARKING, PREFIX, is_poison

__all__ = ["PARKING_ROLE", "ROLES", "Notes", "Role"]


class Notes:
    """The journal of one subscription in one process."""

    def __init__(self, journal: Journal, name: str, rng: random.Random) -> None:
        self._journal = journal
        self._name = name
        self.rng = rng

    def note(self, what: str, **details: Any) -> None:
        self._journal.note(what, name=self._name, **details)

    def received(self, events: Events) -> None:
        self.note("received", events=[[e.position, str(e.event_id)] for e in events])

    def acking(self, position: int) -> None:
        """Note an acknowledgement that follows, so that no checkpoint is ahead of the notes."""
        self.note("acking", position=position)

    def ack(self, subscription: Subscription, what: Events | RecordedEvent) -> None:
        """Acknowledge; ignore a refusal, which a lost subscription causes."""
        self.acking(what.last_position if isinstance(what, Events) else what.position)
        with contextlib.suppress(EventStoreError):
            subscription.ack(what)

    def happens(self, probability: float) -> bool:
        return self.rng.random() < probability


# ── functions ────────────────────────────────────────────────────────────────────────────────────


def prompt(notes: Notes) -> Callable[[Events], None]:
    def handle(events: Events) -> None:
        notes.received(events)
        notes.acking(events.last_position)

    return handle


def slow(notes: Notes) -> Callable[[Events], None]:
    """Return a handler that works on each batch for a while."""
    work = threading.Event()

    def handle(events: Events) -> None:
        notes.received(events)
        work.wait(0.005)
        notes.acking(events.last_position)

    return handle


class UnprintableError(Exception):
    """An error without a text."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


_FAILURES = (
    RuntimeError("a handler that fails now and then"),
    UnprintableError("no text"),
    ValueError("x" * 5_000_000),
)


def raising(notes: Notes) -> Callable[[Events], None]:
    def handle(events: Events) -> None:
        notes.received(events)
        if notes.happens(0.03):
            raise notes.rng.choice(_FAILURES)
        notes.acking(events.last_position)

    return handle


def hanging_function(notes: Notes) -> Callable[[Events], None]:
    """Return a handler that sometimes hangs longer than its `ack_timeout`, and then raises."""
    never = threading.Event()

    def handle(events: Events) -> None:
        notes.received(events)
        if notes.happens(0.02):
            never.wait(1.5)
            raise TimeoutError("a handler that hung")
        notes.acking(events.last_position)

    return handle


def parking(notes: Notes) -> Callable[[Events], None]:
    """Return a handler of which the same events fail in every process."""

    def handle(events: Events) -> None:
        for event in events:
            if is_poison(event.event_id, replay=events.replay):
                raise ValueError(f"the event at {event.position} cannot be handled")
            place = {"stream": event.stream_id, "position": event.position}
            notes.note("handled", **place, replay=events.replay)

    return handle


# ── actors ───────────────────────────────────────────────────────────────────────────────────────


class OneByOne(pykka.ThreadingActor):
    """Acknowledges each event separately."""

    use_daemon_thread = True

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self.notes = notes

    def on_receive(self, message: object) -> None:
        match message:
            case Subscribed():
                self.notes.note("run")
                self.begin()
            case SubscriptionLost(_, reason):
                self.notes.note("lost", reason=type(reason).__name__)
            case Events():
                self.notes.received(message)
                self.take(message)

    def begin(self) -> None:
        """Note that a delivery run starts; for subclasses."""

    def take(self, events: Events) -> None:
        for event in events:
            self.notes.ack(events.subscription, event)


class Late(OneByOne):
    """Acknowledges each batch half a second late, from another thread."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(notes)
        self._due: queue.SimpleQueue[tuple[float, Events] | None] = queue.SimpleQueue()

    def on_start(self) -> None:
        threading.Thread(target=self._ack_late, daemon=True).start()

    def on_stop(self) -> None:
        self._due.put(None)

    def take(self, events: Events) -> None:
        self._due.put((time.monotonic() + 0.5, events))

    def _ack_late(self) -> None:
        pause = threading.Event()
        while (item := self._due.get()) is not None:
            due, events = item
            pause.wait(max(0.0, due - time.monotonic()))
            self.notes.ack(events.subscription, events)


class Hanging(OneByOne):
    """Sometimes stops acknowledging, until a new run starts."""

    hangs = False

    def begin(self) -> None:
        self.hangs = False

    def take(self, events: Events) -> None:
        self.hangs = self.hangs or self.notes.happens(0.01)
        if not self.hangs:
            self.notes.ack(events.subscription, events)


class Dying(OneByOne):
    """Sometimes dies of a batch."""

    def take(self, events: Events) -> None:
        if self.notes.happens(0.02):
            self.stop()
        else:
            self.notes.ack(events.subscription, events)


@dataclass(frozen=True, slots=True)
class Role:
    """A subscription that every runtime wants to own, and its kind of subscriber."""

    name: str
    stream_id: str
    start: Callable[[Notes], Any]
    """Creates a subscriber."""
    options: Mapping[str, Any] = field(default_factory=dict)


SELDOM = {"checkpoint_after": 1.0, "checkpoint_threshold": 500}
"""Checkpoints are held back, so more comes again after a fault, and nothing may be skipped."""

ROLES = (
    Role("prompt", "$all", prompt, {"batch_by": "any"}),
    Role("slow", "$all", slow, {"batch_by": "any", "max_batch_size": 50, **SELDOM}),
    Role("one-by-one", "$all", OneByOne.start),
    Role("late", "$all", Late.start, {"buffer_size": 2_000}),
    Role("hanging", "$all", Hanging.start, {"ack_timeout": 1.0}),
    Role("raising", "s-0", raising, {"on_error": Retry(first=0.05, longest=0.2)}),
    Role("dying", "s-1", Dying.start),
    Role("of-links", LINKED, prompt, {"batch_by": "any"}),
    Role("of-doomed", DOOMED[0], prompt),
    Role("hanging-function", "s-2", hanging_function, {"ack_timeout": 0.7}),
)

PARKING_ROLE = Role(
    PARKING,
    "$all",
    parking,
    {
        "on_error": Retry(first=0.02, longest=0.1, attempts=2, then="park"),
        "stream_prefix": PREFIX,
        "batch_by": "any",
        "buffer_size": 50,
    },
)
"""It is judged by what becomes of each event. Nobody pauses or resets it."""
