"""A subscription as its users see it: options, states, handle. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import partial
from inspect import cleandoc
from typing import Any, Literal, Protocol, TypedDict, TypeVar

from eventstore.model.awaited import Awaited
from eventstore.model.checks import (
    check_bool,
    check_choice,
    check_duration,
    check_int,
    check_timeout,
    shown,
)
from eventstore.model.event_filter import EventFilter, FilterKeywords, Scalar
from eventstore.model.events import RecordedEvent
from eventstore.model.plain_functions import check_plain_function
from eventstore.model.retry import GiveUp, Retry
from eventstore.model.subscription_start import Origin, Start, parse_start

__all__ = [
    "BatchBy",
    "Subscription",
    "SubscriptionKeywords",
    "SubscriptionOptions",
    "SubscriptionState",
    "WhenOwned",
    "documents_options",
]

MIB = 1024 * 1024

_COUNTS = ("max_batch_size", "buffer_size", "buffer_bytes", "max_parked", "max_parked_per_key")


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


Selector = Callable[[RecordedEvent], bool]
Mapper = Callable[[RecordedEvent], Any]


class SubscriptionKeywords(TypedDict, total=False):
    """Options of a subscription.

    start_from: Where a new subscription starts: "origin"; "current": after the newest event as
        of this call; or the last position that counts as seen, at most the head. An existing
        subscription goes on after its checkpoint. Defaults to "origin".
    batch_by: "stream": the events of a batch belong to one stream; "any": to any streams.
        Defaults to "stream". With `transactional` the default is "any".
    max_batch_size: Most events in a batch. A batch whose function raised is half as large the next
        time, down to one event; after 8 deliveries without a failure it may be twice as large
        again. Defaults to 100.
    buffer_size: Most events in flight, that is, sent and not acknowledged. Defaults to 500.
    buffer_bytes: Most bytes in flight; a single larger event is sent alone. Defaults to 64 MiB.
    ack_timeout: Seconds without any acknowledgement, while events are in flight, after which the
        subscriber counts as hung. An actor's subscription goes to its successor; a function's
        subscription stops. Also the longest time that selector, mapper and serializer may take for
        one event; then the subscription stops. None: never. Defaults to None.
    checkpoint_after: Seconds after the first acknowledgement that is not stored, 0.01 to 1,000,000,
        at which the checkpoint is stored, however many follow. None: at no time. Defaults to None.
    checkpoint_threshold: Acknowledged events, 1 or more, after which the checkpoint is stored. They
        are counted by their positions, so one that the selector left out or that was deleted
        counts. None: after no number. Defaults to None.
    on_error: How a batch is delivered again after the function, the selector, the mapper or the
        serializer raised, and what becomes of an event that fails too often. Defaults to Retry().
    keep_order: Whether later events of a stream are parked behind a parked one. A subscription
        keeps it, as it does its filter, until it is reset. Defaults to True.
    max_parked: Most parked events, 1 or more; before more, it stops. Defaults to 100,000.
    max_parked_per_key: Most parked events of one stream; else as max_parked. Defaults to 10,000.
    when_owned: While another runtime owns the subscription, "wait": stand by to take over;
        "error": raise `SubscriptionInUseError`; None: stand by if the owner is in another process,
        and raise the error if it is in this one. Defaults to None.
    transactional: True: the function takes `(events, connection)`, and what it writes over the
        connection of psycopg commits together with the checkpoint, or not at all. The store
        commits; a function that does so itself stops the subscription. While the function sends
        nothing, its transaction is ended after the lease, or after a longer `ack_timeout`.
        "caller": the function takes `events`, and calls `events.checkpoint` in a transaction of
        its own, which it commits. For functions and a store in PostgreSQL. Defaults to False.
    event_types: The event's type, or a list of types, of which it has one, as in a read. Other
        events are not sent by the database, and count as acknowledged. None: all types. Defaults
        to None.
    stream_prefix: How the id of the event's own stream begins, as in a read. None: all streams.
        Defaults to None.
    metadata: Keys of the top level of the event's metadata, each with its value or a list of
        values, as in a read. None: any metadata, and none. Defaults to None.
    selector: Called with each event that these leave; returns True or False, and nothing else. On
        False the event is not delivered and counts as acknowledged. Defaults to None.
    mapper: Called with each event; the result is delivered in its place. Defaults to None.

    Without `checkpoint_after` and `checkpoint_threshold` each acknowledgement is stored; with both,
    the limit that is reached first counts; with a threshold alone, fewer events may wait for as
    long as none follow. The keeper collects for 0.1 s what it stores. In a pause, and before the
    subscription ends in order, everything acknowledged is stored, whatever the limits; after a
    crash, what was not stored is delivered again. The owner's `Subscription.checkpoint` and
    `Subscription.wait_for` know every acknowledgement at once. A `SubscriptionInfo`, its lag, and
    `wait_for` in another process know what is stored. A checkpoint that has only moved over events
    that were left out is stored within `Config.poll_interval`.
    """

    start_from: Literal["origin", "current"] | int
    batch_by: Literal["stream", "any"] | BatchBy
    max_batch_size: int
    buffer_size: int
    buffer_bytes: int
    ack_timeout: float | None
    checkpoint_after: float | None
    checkpoint_threshold: int | None
    on_error: Retry | None
    keep_order: bool
    max_parked: int
    max_parked_per_key: int
    when_owned: Literal["wait", "error"] | WhenOwned | None
    transactional: bool | Literal["caller"]
    event_types: str | Sequence[str] | None
    stream_prefix: str | None
    metadata: Mapping[str, Scalar | Sequence[Scalar]] | None
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
    checkpoint_after: float | None = None
    checkpoint_threshold: int | None = None
    on_error: Retry = Retry()  # noqa: RUF009 - it is frozen
    keep_order: bool = True
    max_parked: int = 100_000
    max_parked_per_key: int = 10_000
    when_owned: WhenOwned | None = None
    transactional: bool | Literal["caller"] = False
    event_types: str | Sequence[str] | None = None
    stream_prefix: str | None = None
    metadata: Mapping[str, Scalar | Sequence[Scalar]] | None = None
    selector: Selector | None = None
    mapper: Mapper | None = None

    def __post_init__(self) -> None:
        for name in _COUNTS:
            check_int(name, getattr(self, name), least=1)
        check_bool("keep_order", self.keep_order)
        if self.ack_timeout is not None:
            check_timeout("ack_timeout", self.ack_timeout)
        if self.checkpoint_after is not None:
            check_duration("checkpoint_after", self.checkpoint_after)
        if self.checkpoint_threshold is not None:
            check_int("checkpoint_threshold", self.checkpoint_threshold, least=1)
        # Not of a subclass: its `delay` would be user code in the subscription's actor.
        if type(self.on_error) is not Retry:
            raise TypeError(f"on_error must be a Retry: {shown(self.on_error)}")
        self._check_transactional()
        for name in ("selector", "mapper"):
            value = getattr(self, name)
            if value is not None:
                check_plain_function(name, value)

    def _check_transactional(self) -> None:
        value = self.transactional
        if isinstance(value, str) and value != "caller":
            raise ValueError(f"transactional must be True, False or 'caller': {shown(value)}")
        if not (value == "caller" or check_bool("transactional", value)):
            return
        if self.on_error.then == GiveUp.PARK:
            raise ValueError("then must not be 'park' with transactional: on_error")
        for name in ("checkpoint_after", "checkpoint_threshold"):
            if (value := getattr(self, name)) is not None:
                raise ValueError(
                    f"{name} cannot be used with transactional, which stores each checkpoint with"
                    f" the effects of its batch: {shown(value)}"
                )

    def longest_idle(self, lease: float) -> float:
        """Return the seconds for which a transaction of the function may be idle."""
        return max(lease, self.ack_timeout or 0.0)

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
        if values.get("transactional"):
            values.setdefault("batch_by", BatchBy.ANY)
        only = EventFilter.parse({name: given.get(name) for name in FilterKeywords.__annotations__})
        # A copy: a list or a mapping of the caller's may change.
        return cls(**values | (only.keywords if only else {}))

    @property
    def stored(self) -> dict[str, Any]:
        """What must not differ from one owner to the next, as JSON."""
        only = self.event_filter
        return {"keep_order": self.keep_order} | (only.keywords if only else {})

    @property
    def event_filter(self) -> EventFilter | None:
        """The filter of the three options that make one; None if none is given."""
        names = FilterKeywords.__annotations__
        return EventFilter.parse({name: getattr(self, name) for name in names})


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
        """Failed deliveries of the oldest event alone, in a row; see `Retry`."""

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

    def nack(
        self, event: RecordedEvent, action: Literal["retry", "skip", "park", "stop"], *, reason: str
    ) -> None:
        """Refuse *event*: what is in flight from it on comes again, after a new `Subscribed`.

        The events before it are acknowledged. For an actor, which drops what it gets before that;
        a function raises an error instead.

        Args:
            event: An event of the present delivery run: the object that was delivered.
            action: "retry": it comes again and is counted as failed; "skip": never; "park": when
                somebody has it delivered again; "stop": the subscription stops.
            reason: Why, for people; 1 to 2,000 bytes of UTF-8.

        Raises:
            UnexpectedAckError, SubscriptionLostError: As for `ack`, or it is acknowledged already.
            TypeError, ValueError: An argument is invalid; the message names it.
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
            EventParkedError: An event of *what* is parked, or is put aside meanwhile.
            DeliveryTimeoutError: Not within *timeout* seconds, or the subscription stopped.
            StorageUnavailableError: Nobody knows whether it was reset meanwhile; safe to retry.
        """

    def caught_up(self, timeout: float) -> None:
        """Block until it has got past everything that is stored as of this call.

        Parked events do not hold it up, nor do events that are left out or were deleted.

        Raises:
            DeliveryTimeoutError: Not within *timeout* seconds, or the subscription stopped.
            StorageUnavailableError: Nobody knows what is stored.
        """

    def join(self, timeout: float | None = None) -> None:
        """Block until the subscription has stopped.

        SIGTERM and SIGINT close its store meanwhile, as in `EventStore.join`.

        Raises:
            EventStoreError: The reason it stopped, unless it was asked to.
            TimeoutError: It still runs after *timeout* seconds.
        """
