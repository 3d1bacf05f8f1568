"""A subscription as its users see it: options, states, handle. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from functools import partial
from inspect import cleandoc
from typing import Any, Literal, Protocol, TypedDict, TypeVar

from eventstore.model.awaited import Awaited
from eventstore.model.checks import (
    check_choice,
    check_duration,
    check_factor,
    check_int,
    check_timeout,
    is_int,
    shown,
)
from eventstore.model.events import RecordedEvent
from eventstore.model.names import MAX_POSITION
from eventstore.model.plain_functions import check_plain_function

__all__ = [
    "BatchBy",
    "Retry",
    "Start",
    "Subscription",
    "SubscriptionInfo",
    "SubscriptionKeywords",
    "SubscriptionOptions",
    "SubscriptionState",
    "WhenOwned",
    "documents_options",
]

MIB = 1024 * 1024


class SubscriptionState(StrEnum):
    """State of a subscription. Stored, so that every process can see it."""

    WAITING = "waiting"
    """Another runtime owns it, or the database is unreachable."""
    CATCHING_UP = "catching_up"
    """There are stored events that it has not read yet."""
    LIVE = "live"
    """Everything was sent; it waits for new events."""
    FULL = "full"
    """The buffer is full; it waits for acknowledgements."""
    RETRYING = "retrying"
    """The handler, selector, mapper or serializer failed; the batch is delivered again."""
    PAUSED = "paused"
    """No batch is sent until it is resumed."""
    STOPPED = "stopped"
    """It does not run; `last_error` says why, unless it was asked to stop."""


class BatchBy(StrEnum):
    """Whether the events of one batch belong to one stream or to any."""

    STREAM = "stream"
    ANY = "any"


class WhenOwned(StrEnum):
    """What to do when another runtime owns the subscription."""

    WAIT = "wait"
    ERROR = "error"


class Origin(StrEnum):
    """Named starts of a subscription."""

    ORIGIN = "origin"
    CURRENT = "current"


Start = Origin | int
"""Start of a new subscription; a number is the last position that counts as seen."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Delays between deliveries of a batch that fails: exponential backoff.

    Args:
        first: Seconds before the first redelivery. Defaults to 0.1.
        factor: Factor by which each further delay grows, 1 or more. Defaults to 2.
        longest: Longest delay in seconds. Defaults to 30.
        attempts: Failures in a row after which the subscription stops, however many events failed;
            an event acknowledged since ends the row. None: no limit. Defaults to None.

    Raises:
        TypeError, ValueError: A value is invalid; the message names it.
    """

    first: float = 0.1
    factor: float = 2.0
    longest: float = 30.0
    attempts: int | None = None

    def __post_init__(self) -> None:
        check_duration("longest", self.longest, least=0)
        check_duration("first", self.first, least=0)
        if self.first > self.longest:
            raise ValueError(f"first must be at most longest ({self.longest}): {self.first}")
        check_factor("factor", self.factor)
        if self.attempts is not None:
            check_int("attempts", self.attempts, least=1)

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after the *attempt*-th failure in a row, 1-based."""
        exponent = min(attempt - 1, 1_000)
        try:
            return min(self.first * self.factor**exponent, self.longest)
        except OverflowError:
            return self.longest


Selector = Callable[[RecordedEvent], bool]
Mapper = Callable[[RecordedEvent], Any]


class SubscriptionKeywords(TypedDict, total=False):
    """Options of a subscription.

    start_from: Where a new subscription starts: "origin"; "current": after the newest event as
        of this call; or the last position that counts as seen, at most the head. An existing
        subscription goes on after its checkpoint. Defaults to "origin".
    batch_by: "stream": the events of a batch belong to one stream; "any": to any streams.
        Defaults to "stream".
    max_batch_size: Most events in a batch. A batch whose function raised is half as large the next
        time, down to one event; after 8 deliveries without a failure it may be twice as large
        again. Defaults to 100.
    buffer_size: Most events in flight, that is, sent and not acknowledged. Defaults to 500.
    buffer_bytes: Most bytes in flight; a single larger event is sent alone. Defaults to 64 MiB.
    ack_timeout: Seconds without any acknowledgement, while events are in flight, after which the
        subscriber counts as hung. An actor's subscription goes to its successor; a function's
        subscription stops. Also the longest time that selector, mapper and serializer may take for
        one event; then the subscription stops. None: never. Defaults to None.
    on_error: How a batch is delivered again after the function, the selector, the mapper or the
        serializer raised. Defaults to Retry().
    when_owned: While another runtime owns the subscription, "wait": stand by to take over;
        "error": raise `SubscriptionInUseError`; None: stand by if the owner is in another process,
        and raise the error if it is in this one. Defaults to None.
    selector: Called with each event; returns True or False, and nothing else. On False the event
        is not delivered and counts as acknowledged. Defaults to None.
    mapper: Called with each event; the result is delivered in its place. Defaults to None.
    """

    start_from: Literal["origin", "current"] | int
    batch_by: Literal["stream", "any"] | BatchBy
    max_batch_size: int
    buffer_size: int
    buffer_bytes: int
    ack_timeout: float | None
    on_error: Retry | None
    when_owned: Literal["wait", "error"] | WhenOwned | None
    selector: Selector | None
    mapper: Mapper | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionOptions:
    """`SubscriptionKeywords`, parsed and checked, with their defaults."""

    start_from: Start = Origin.ORIGIN
    batch_by: BatchBy = BatchBy.STREAM
    max_batch_size: int = 100
    buffer_size: int = 500
    buffer_bytes: int = 64 * MIB
    ack_timeout: float | None = None
    on_error: Retry = Retry()
    when_owned: WhenOwned | None = None
    selector: Selector | None = None
    mapper: Mapper | None = None

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "buffer_size", "buffer_bytes"):
            check_int(name, getattr(self, name), least=1)
        if self.ack_timeout is not None:
            check_timeout("ack_timeout", self.ack_timeout)
        # Not of a subclass: its `delay` would be user code in the subscription's actor.
        if type(self.on_error) is not Retry:
            raise TypeError(f"on_error must be a Retry: {shown(self.on_error)}")
        for name in ("selector", "mapper"):
            value = getattr(self, name)
            if value is not None:
                check_plain_function(name, value)

    @classmethod
    def parse(cls, given: SubscriptionKeywords) -> SubscriptionOptions:
        """Return the options that a caller gave, with defaults for the rest.

        Raises:
            TypeError: An option is unknown or of the wrong kind; the message names it.
            ValueError: A value is not possible; the message names the option and shows the value.
        """
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                raise TypeError(
                    f"{name!r} is not an option of a subscription, these are: {', '.join(names)}"
                )
        values: dict[str, Any] = {
            name: _PARSERS[name](value) if name in _PARSERS else value
            for name, value in given.items()
        }
        return cls(**values)


def parse_start(value: object) -> Start:
    """Return *value* as the start of a subscription.

    Raises:
        TypeError, ValueError: Not "origin", "current" or a position.
    """
    if isinstance(value, str):
        return Origin(value) if value in {*Origin} else _bad_start(value)
    if not is_int(value):
        raise TypeError(f'start_from must be "origin", "current" or a position: {shown(value)}')
    return value if 0 <= value <= MAX_POSITION else _bad_start(value)


def _bad_start(value: str | int) -> Start:
    raise ValueError(
        f'start_from must be "origin", "current" or a position from 0 to {MAX_POSITION}:'
        f" {shown(value)}"
    )


_PARSERS: dict[str, Callable[[object], object]] = {
    "start_from": parse_start,
    "batch_by": partial(check_choice, "batch_by", BatchBy),
    "on_error": lambda value: Retry() if value is None else value,
    "when_owned": lambda value: (
        None if value is None else check_choice("when_owned", WhenOwned, value)
    ),
}
"""What turns the value of an option into the type that `SubscriptionOptions` holds."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


def documents_options(method: _Method) -> _Method:
    """Append the list of options to the docstring of *method*, so that ``help`` shows them."""
    if method.__doc__ and SubscriptionKeywords.__doc__:  # stripped by python -OO
        method.__doc__ = f"{cleandoc(method.__doc__)}\n\n{cleandoc(SubscriptionKeywords.__doc__)}\n"
    return method


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionInfo:
    """State of a subscription at one moment, as it is stored."""

    subscription_id: int
    stream_id: str
    subscription_name: str
    owner: str | None
    """Host and process of the owner; None if nobody owns it."""
    since: datetime | None
    """When the owner took it over."""
    epoch: int
    state: SubscriptionState
    """As the owner stored it last; WAITING or STOPPED if nobody owns it."""
    checkpoint: int
    head: int
    """Newest position of the subscribed stream, or of the store for ``$all``."""
    lag_events: int
    """Positions between checkpoint and head."""
    lag_seconds: float
    """Age of the oldest unacknowledged event; 0 if there is none."""
    paused: bool
    last_error: str | None
    """The error that makes it retry, or that stopped it, and the event that failed."""
    attempts: int
    """Failures in a row; see `Subscription.attempts`."""
    created_at: datetime


class Subscription(Protocol):
    """The handle of a running subscription. Its properties do no I/O; any thread may use it."""

    @property
    def stream_id(self) -> str: ...

    @property
    def subscription_name(self) -> str: ...

    @property
    def state(self) -> SubscriptionState: ...

    @property
    def checkpoint(self) -> int:
        """Everything up to this position is acknowledged."""

    @property
    def last_error(self) -> BaseException | None: ...

    @property
    def attempts(self) -> int:
        """Failures in a row: since the last event was acknowledged, whatever the batch's size."""

    def ack(self, what: int | RecordedEvent | Sequence[RecordedEvent]) -> None:
        """Acknowledge every event up to *what*. Never blocks.

        Acknowledging again, or less than before, changes nothing.

        Args:
            what: An event of the present delivery run: the object that was delivered, no copy of
                it and none that was read. Or a batch. Or a list of events, which acknowledges up to
                its last one; all of them must be of this run. Or a position, which is checked
                only against the highest one that was sent in this run.

        Raises:
            UnexpectedAckError: This subscription did not deliver it. Nothing changed.
            SubscriptionLostError: An earlier run delivered it, and it is delivered again; or this
                process no longer owns the subscription. Nothing changed.
            TypeError: It is neither an event, a batch, a list of events nor a position.
            ValueError: The position is negative, or the list is empty.
        """

    def pause(self) -> None:
        """Stop sending batches. The pause is stored and outlives a restart.

        Raises:
            StorageUnavailableError: The pause could not be stored; nothing changed.
            SubscriptionLostError: The subscription stopped.
        """

    def resume(self) -> None:
        """Send batches again; the errors are those of `pause`."""

    def unsubscribe(self) -> None:
        """Stop the subscription and release it. Its checkpoint stays stored. Idempotent.

        One that gave up is no longer shown in the health of its store.
        """

    def wait_for(self, what: Awaited, timeout: float) -> None:
        """Block until *what* has been delivered and acknowledged.

        Raises:
            DeliveryTimeoutError: Not within *timeout* seconds, or the subscription stopped.
        """

    def join(self, timeout: float | None = None) -> None:
        """Block until the subscription has stopped.

        SIGTERM and SIGINT close its store meanwhile, as in `EventStore.join`.

        Raises:
            EventStoreError: The reason it stopped, unless it was asked to.
            TimeoutError: It still runs after *timeout* seconds.
        """
