"""A function as a subscriber: its actor, its mailbox, and the check of what can subscribe."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pykka

from eventstore.client.coroutine_handler import CoroutineHandler
from eventstore.model.answers import FAILED, answer_of
from eventstore.model.caught_error import CaughtError
from eventstore.model.checks import shown
from eventstore.model.plain_functions import why_it_never_runs, withdraw
from eventstore.model.subscriber_messages import Events
from eventstore.ports.ownership import Fence
from eventstore_actors.delivering.unsettled import Unsettled, UnsettledError
from eventstore_actors.kernel.actor import SupervisedActor, try_tell
from eventstore_actors.kernel.messages import Fetch, HandlerFailed, Ref, SubscriberEnded
from eventstore_actors.state.seat import Seat
from eventstore_actors.state.subscription_handle import SubscriptionHandle

__all__ = [
    "Call",
    "FunctionSubscriber",
    "Letter",
    "Mailbox",
    "check_subscriber",
    "failed_letter",
    "require_none",
]


class FunctionSubscriber(SupervisedActor):
    """An actor that calls the handler of a seat with the batches of a mailbox, one at a time."""

    def __init__(
        self, seat: Seat, call: Call, mailbox: Mailbox, subscription: Ref, role: str
    ) -> None:
        super().__init__(role, None)
        self._seat = seat
        self._call = call
        self._mailbox = mailbox
        self._subscription = subscription
        self._failed_run = 0

    @property
    def handle(self) -> SubscriptionHandle:
        """The handle of its subscription."""
        return self._seat.handle

    def receive(self, message: Any) -> None:
        match message:
            case Fetch():
                while self._handle_next():
                    pass
            case _:
                raise TypeError(f"unexpected message: {shown(message)}")

    def teardown(self, error: BaseException | None) -> None:
        try_tell(self._subscription, SubscriberEnded(error))

    def _handle_next(self) -> bool:
        """Run the handler on the next batch; return False if there is none."""
        # After a crash the previous actor may still be in the handler.
        with self._seat.handler_lock:
            letter = self._mailbox.fetch()
            if letter is None:
                return False
            if letter.run > self._failed_run:
                self._answer(letter, _call_handler(self._call, letter))
        return True

    def _answer(self, letter: Letter, failed: HandlerFailed | Unsettled | None) -> None:
        if failed is None:
            self.handle.acknowledge(letter.run, letter.batch.last_position)
        else:
            # The batches after the failed one are redelivered after it, in a new run.
            self._failed_run = letter.run
            try_tell(self._subscription, failed)


def _call_handler(call: Call, letter: Letter) -> HandlerFailed | Unsettled | None:
    """Call the handler with *letter*.

    Returns:
        What to tell the subscription; None if the handler returned None. Nothing is raised, not
        even a SystemExit, which in pykka would stop every actor of the process.
    """
    try:
        require_none(call(letter))
    except BaseException as error:  # noqa: BLE001 - told to the subscription
        return failed_letter(letter, error)
    return None


def failed_letter(letter: Letter, error: BaseException) -> HandlerFailed | Unsettled:
    """Return what to tell the subscription of *error*; call it in the handler's thread."""
    if type(error) is UnsettledError:
        return Unsettled(letter.run, error.how)
    batch, answer = letter.batch, FAILED
    try:
        answer = answer_of(error, batch)
    except BaseException as wrong:  # noqa: BLE001 - an answer that means nothing is a failure
        error = wrong
    caught = CaughtError.of(error)
    return HandlerFailed(letter.run, caught, answer, len(batch), batch.last_position)


def require_none(returned: object) -> None:
    """Raise a TypeError if a handler returned anything but None."""
    if returned is None:
        return
    text = shown(returned)
    withdraw(returned)
    raise TypeError(f"the handler returned {text}; only None acknowledges, raise to refuse")


class Letter(NamedTuple):
    """A batch and its delivery run."""

    run: int
    batch: Events
    after: int
    """The position before its first event."""
    fence: Fence
    """Of its delivery run."""
    least: int
    """The stored checkpoint is at least this, if the function is transactional."""


Call = Callable[[Letter], Any]
"""Calls the function of a seat with a batch, and returns what it returns."""


class Mailbox:
    """Batches from a subscription to its function subscriber; thread-safe.

    A batch that is taken back has not been started; the lock guarantees it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letters: deque[Letter] = deque()
        self._good_until = math.inf
        self._closed = False

    def put(self, letters: Iterable[Letter]) -> bool:
        """Add batches; return True if it was empty, so that the subscriber must be told."""
        with self._lock:
            was_empty = not self._letters
            if not self._closed:
                self._letters.extend(letters)
        return was_empty

    def fetch(self) -> Letter | None:
        """Take the oldest batch; None if there is none or the lease has expired."""
        with self._lock:
            if not self._letters or time.monotonic() >= self._good_until:
                return None
            return self._letters.popleft()

    def renew(self, good_until: float) -> bool:
        """Allow fetching until *good_until* on `time.monotonic`.

        Returns:
            True if there are batches: the subscriber may have tried to fetch after the expiry.
        """
        with self._lock:
            self._good_until = good_until
            return bool(self._letters)

    def take_back(self) -> int | None:
        """Remove all batches; return the position before the first one, None if there were none."""
        with self._lock:
            after = self._letters[0].after if self._letters else None
            self._letters.clear()
        return after

    def close(self) -> None:
        """Drop all batches, and those added later."""
        with self._lock:
            self._letters.clear()
            self._closed = True


def check_subscriber(subscriber: object) -> None:
    """Return if *subscriber* is a live actor's reference or a callable.

    Raises:
        TypeError: It is neither; the message says what to pass instead.
        ValueError: It is the reference of a dead actor.
    """
    if isinstance(subscriber, CoroutineHandler):
        return
    if isinstance(subscriber, pykka.ActorRef):
        if not subscriber.is_alive():
            raise ValueError(f"subscriber is a dead actor: {shown(subscriber)}")
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
    return why_it_never_runs(subscriber)
