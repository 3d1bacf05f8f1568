"""The port to a runtime. A runtime runs a store: in the caller's thread or with actors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

from eventstore.model.awaited import Awaited
from eventstore.model.config import Config
from eventstore.model.subscriber_messages import Receiver
from eventstore.model.subscription import Subscription, SubscriptionOptions, SubscriptionState
from eventstore.ports.storage import Storage
from eventstore.ports.stored_events import Append, Committed
from eventstore.ports.waits import Waits

__all__ = ["LAST_CHANCE", "Health", "RunningSubscription", "Runtime", "SubscriptionHealth", "Wake"]

LAST_CHANCE = 0.1
"""Seconds before the deadline after which no runtime sends an append again.

An answer that does not come in time would make unknown what is known.
"""

Wake = Callable[[int | None], bool]
"""Takes the newest position of a stream, None if that is not known; returns whether to call again.

It never blocks and never raises.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionHealth:
    """Health of one subscription of a runtime at one moment.

    A subscription that gave up stays, as STOPPED, until it is unsubscribed or subscribed again.
    """

    stream_id: str
    subscription_name: str
    state: SubscriptionState
    checkpoint: int
    in_flight: int
    seconds_without_progress: float
    """Seconds for which events have waited without any acknowledgement; 0 if none waits.

    A standby waits for nothing, nor does a subscription that is paused or has delivered everything.
    """
    last_error: str | None
    """The error that makes it retry, or that stopped it, and the event that failed; then its
    traceback, from the second line on."""
    attempts: int
    """Attempts that the oldest event has used up; see `Subscription.attempts`."""
    skipped: int
    """Events that were given up and skipped since it was subscribed here."""
    parked: int
    """Events that were given up and put aside since then, also if they are not parked any more, and
    without those that follow them; `SubscriptionInfo.parked` says how many are parked now."""

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain values, as JSON has them."""
        return {**asdict(self), "state": self.state.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Health of a store at one moment."""

    running: bool
    """Whether every part runs and goes on; False also while a part is being restarted."""
    stuck: tuple[str, ...]
    """Names of the threads that have not gone on in the time that a turn may take."""
    database_reachable: bool
    """Whether the database answered when it was asked last."""
    head: int | None
    """Newest global position seen; None until it was read once."""
    queued_appends: int
    queued_bytes: int
    restarts: int
    """Restarts of actors and threads since the start."""
    listening: bool
    """Whether notifications arrive; otherwise new events are found by polling."""
    subscriptions: tuple[SubscriptionHealth, ...]
    failure: str | None
    """Why the runtime failed; None if it did not."""

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain values, as JSON has them."""
        subscriptions = [each.as_dict() for each in self.subscriptions]
        return {**asdict(self), "stuck": list(self.stuck), "subscriptions": subscriptions}


class RunningSubscription(Subscription, Protocol):
    """A subscription as the facade sees it."""

    async def reached(
        self,
        what: Awaited | None,
        timeout: float,
        waits: Waits,
    ) -> None:
        """Do what `wait_for` does, and wait as *waits* does; None: do what `caught_up` does."""

    async def joined(self, timeout: float | None, waits: Waits) -> None:
        """Do what `join` does, without a look at signals, and wait as *waits* does."""


class Runtime(Protocol):
    """Runs a store. Every method may be called from any thread."""

    @classmethod
    def start(
        cls,
        config: Config,
        *,
        init: bool,
        pool: object | None = None,
        beside: Storage | None = None,
    ) -> Self:
        """Start the runtime, and return when the store can be used.

        Args:
            config: The settings of the store.
            init: Install or migrate the schema.
            pool: A `psycopg_pool.ConnectionPool` of the service, for reads.
            beside: An open storage of the same database, whose connections are shared.

        Raises:
            StorageUnavailableError: The store cannot be used within `Config.connect_timeout`.
            SchemaVersionError: The schema is missing or of another version, and *init* is False.
        """

    @classmethod
    def attach(cls, handle: Any, timeout: float) -> Self:
        """Use a supervisor that the application started. `close` then only detaches."""

    @staticmethod
    def is_subscriber(candidate: object) -> bool:
        """Return whether *candidate* receives messages. If not, it is called."""

    @property
    def config(self) -> Config: ...

    @property
    def storage(self) -> Storage: ...

    def append(self, append: Append, deadline: float) -> Committed:
        """Store an append.

        Raises:
            AppendError, OutcomeUnknownError, StorageUnavailableError, NotRunningError: As
                `EventStore.append_to_stream` documents them.
        """

    async def append_waiting(self, append: Append, deadline: float, waits: Waits) -> Committed:
        """Store an append without blocking the thread; otherwise as `append`."""

    def await_transaction(self, transaction_id: int) -> None:
        """Announce the events of a caller's transaction when it has committed. Never blocks.

        A runtime without a thread for that does nothing: others find the events by polling.
        """

    def wake(self) -> None:
        """Look for new events of other connections now, and have other processes do so.

        Waits for no lock, and at most 1 s for the database.
        """

    def subscribe(
        self,
        stream_id: str,
        subscription_name: str,
        subscriber: Receiver,
        options: SubscriptionOptions,
        subscription_id: int | None = None,
    ) -> RunningSubscription:
        """Connect a subscriber; return once this runtime owns the subscription or stands by for it.

        Args:
            stream_id: The stream to subscribe to, or ``$all``.
            subscription_name: Its name.
            subscriber: Who gets the events.
            options: Those of the subscription.
            subscription_id: The subscription must be there, and be this one. None: it is the one
                of that name, and is created if there is none.

        Raises:
            SubscriptionLostError: It is there no more, or has another id.
            SubscriptionInUseError: Another subscriber is connected in this runtime, or another
                runtime owns the subscription and the options ask for the error.
        """

    def unsubscribe(self, stream_id: str, subscription_name: str) -> None:
        """Stop a subscription of this runtime and release it.

        Raises:
            SubscriptionNotFoundError: No such subscription runs here.
        """

    def subscription(self, stream_id: str, subscription_name: str) -> RunningSubscription | None:
        """Return the handle of a subscription of this runtime; None if it does not run here."""

    def watch(self, stream_id: str, wake: Wake) -> None:
        """Call *wake* from any thread when a stream may have new events, until it returns False.

        A repeated call changes nothing. It may be forgotten when a part of the runtime restarts,
        and a runtime that hears of nothing does nothing: who waits looks now and then.
        """

    def forget(self) -> None:
        """Deliver nothing more of what is in memory: some of it was deleted."""

    def health(self) -> Health: ...

    def wait_stopped(self, timeout: float | None, *, any_subscription: bool = False) -> bool:
        """Block until the runtime has stopped, by `close` or by a failure.

        Args:
            timeout: Most seconds to wait; None: no limit.
            any_subscription: Raise at the first subscription that gave up, although others run.

        Returns:
            Whether it stopped within *timeout* seconds.

        Raises:
            EventStoreError: It failed; or its subscriptions gave up, and none runs any more.
        """

    def stop_by(self, deadline: float) -> None:
        """Begin to do what `close` does, to be ended by *deadline*. Never waits."""

    def close(self, timeout: float) -> None:
        """Stop delivery, wait for acknowledgements, answer every append, release ownership.

        Takes at most *timeout* seconds; the least of all calls counts. Idempotent; a handler may
        call it.
        """

    def abandon(self) -> None:
        """Drop everything after a fork, without touching a socket, a lock or a thread."""
