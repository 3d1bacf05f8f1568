"""A function as a subscriber: an actor calls it, one batch at a time; None acknowledges."""

from __future__ import annotations

import functools
import inspect
import math
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import pykka

from eventstore.model.checks import shown
from eventstore.model.subscriber_messages import Events
from eventstore_actors.kernel.actor import SupervisedActor, try_tell
from eventstore_actors.kernel.messages import Fetch, HandlerFailed, Ref, SubscriberEnded
from eventstore_actors.state.seat import Seat
from eventstore_actors.state.subscription_handle import SubscriptionHandle

__all__ = ["FunctionSubscriber", "Letter", "Mailbox", "check_subscriber"]


class Letter(NamedTuple):
    """A batch, and the delivery run it belongs to."""

    run: int
    batch: Events
    after: int
    """The position before its first event."""


class Mailbox:
    """Written by the subscription, fetched from by its subscriber.

    What a pause, a lost lease or a failed batch takes back under the lock was certainly not begun.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letters: deque[Letter] = deque()
        self._good_until = math.inf
        self._closed = False

    def put(self, letters: Iterable[Letter]) -> bool:
        """Put in batches; True: it was empty, so the subscriber has to hear of it."""
        with self._lock:
            was_empty = not self._letters
            if not self._closed:
                self._letters.extend(letters)
        return was_empty

    def fetch(self) -> Letter | None:
        """Return the oldest batch; None: there is none, or the lease ran out."""
        with self._lock:
            if not self._letters or time.monotonic() >= self._good_until:
                return None
            return self._letters.popleft()

    def renew(self, good_until: float) -> bool:
        """Let batches be fetched until this moment of `time.monotonic`.

        Returns:
            True: There are some, and the subscriber may have been refused them.
        """
        with self._lock:
            self._good_until = good_until
            return bool(self._letters)

    def take_back(self) -> int | None:
        """Take out what was not fetched; return the position before it, None: there was nothing."""
        with self._lock:
            after = self._letters[0].after if self._letters else None
            self._letters.clear()
        return after

    def close(self) -> None:
        """Drop everything, also what is put in later."""
        with self._lock:
            self._letters.clear()
            self._closed = True


def check_subscriber(subscriber: object) -> None:
    """Return if *subscriber* can be told of events or called with them.

    Raises:
        TypeError: It cannot; the message says what to pass instead.
        ValueError: It is the reference of a dead actor.
    """
    if isinstance(subscriber, pykka.ActorRef):
        if not subscriber.is_alive():
            raise ValueError(f"subscriber is a dead actor: {subscriber}")
    elif (instead := _what_to_pass_instead(subscriber)) is not None:
        raise TypeError(f"subscriber cannot be {shown(subscriber)}: {instead}")


def _what_to_pass_instead(subscriber: object) -> str | None:
    if isinstance(subscriber, pykka.Actor | pykka.ActorProxy):
        return "pass the actor's reference, its actor_ref"
    if isinstance(subscriber, type):
        if issubclass(subscriber, pykka.Actor):
            return "start the actor and pass its reference"
        return "pass a function, or an instance that can be called"
    if not callable(subscriber):
        return "pass a function of Events, or an actor's reference"
    for function in _functions_of(subscriber):
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            return "a coroutine function would never run; pass a plain function"
        if inspect.isgeneratorfunction(function):
            return "a generator function would never run; pass a plain function"
    return None


def _functions_of(subscriber: Any) -> list[Any]:
    while isinstance(subscriber, functools.partial):
        subscriber = subscriber.func
    return [subscriber, getattr(type(subscriber), "__call__", None)]  # noqa: B004 - wanted itself


class FunctionSubscriber(SupervisedActor):
    """Runs the handler of a seat on what is in the mailbox."""

    def __init__(self, seat: Seat, mailbox: Mailbox, subscription: Ref, role: str) -> None:
        super().__init__(role, None)
        self._seat = seat
        self._mailbox = mailbox
        self._subscription = subscription
        self._failed_run = 0

    @property
    def handle(self) -> SubscriptionHandle:
        """The subscription whose handler it runs."""
        return self._seat.handle

    def receive(self, message: Any) -> None:
        match message:
            case Fetch():
                while self._handle_next():
                    pass
            case _:
                raise TypeError(f"not for a subscriber: {message!r}")

    def teardown(self, error: BaseException | None) -> None:  # noqa: ARG002 - any end is alike
        try_tell(self._subscription, SubscriberEnded())

    def _handle_next(self) -> bool:
        """Run the handler on the next batch; False: there is none."""
        # The subscriber of before a crash may still be in its handler.
        with self._seat.turn:
            letter = self._mailbox.fetch()
            if letter is None:
                return False
            if letter.run > self._failed_run:
                self._answer(letter, _called(self._seat.subscriber, letter.batch))
        return True

    def _answer(self, letter: Letter, error: BaseException | None) -> None:
        if error is None:
            self.handle.acknowledge(letter.run, letter.batch.last_position)
        else:
            # What was sent behind the failed batch comes again after it, in another run.
            self._failed_run = letter.run
            try_tell(self._subscription, HandlerFailed(letter.run, error))


def _called(handler: Any, batch: Events) -> BaseException | None:
    """Call *handler*; return what was wrong with it, or None if it did its work.

    Nothing leaves it, not even a SystemExit: in pykka that would stop every actor of the process.
    """
    try:
        returned = handler(batch)
    except BaseException as error:  # noqa: BLE001 - told to the subscription
        return error
    if returned is None:
        return None
    with suppress(Exception):
        # A coroutine or generator that nobody will run.
        returned.close()
    return TypeError(
        f"the handler returned {shown(returned)}; only None acknowledges, raise to refuse"
    )
