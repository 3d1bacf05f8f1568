"""The port to whatever runs a store: the caller's own thread, or a tree of actors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

from eventstore.model.config import Config
from eventstore.model.subscription import Subscription, SubscriptionOptions, SubscriptionState
from eventstore.ports.storage import Append, Committed, Storage

__all__ = ["Health", "Runtime", "SubscriptionHealth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionHealth:
    """A subscription of this runtime at one moment."""

    stream_id: str
    subscription_name: str
    state: SubscriptionState
    checkpoint: int
    in_flight: int
    seconds_without_progress: float
    """Since the last acknowledgement or, if there is nothing to do, 0."""
    last_error: str | None
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a store fares at one moment."""

    running: bool
    """Every part runs; False also while one is being restarted."""
    database_reachable: bool
    head: int | None
    """Newest global position seen; None before the first look."""
    queued_appends: int
    queued_bytes: int
    restarts: int
    """Of writer, publisher, keeper and subscriptions, since the start."""
    listening: bool
    """Notifications arrive; False: new events are found by polling."""
    subscriptions: tuple[SubscriptionHealth, ...]
    failure: str | None
    """Why the runtime stopped."""


class Runtime(Protocol):
    """Runs a store. Every method may be called from any thread."""

    @classmethod
    def start(cls, config: Config, *, init: bool, pool: object | None = None) -> Self:
        """Start, and return when the store can be used.

        Args:
            config: The settings of the store.
            init: Install or migrate the schema.
            pool: A `psycopg_pool.ConnectionPool` of the service to read by.

        Raises:
            StorageUnavailableError: Not within `Config.connect_timeout`.
            SchemaVersionError: The schema is missing or of another version, and *init* is False.
        """

    @classmethod
    def attach(cls, handle: Any, timeout: float) -> Self:
        """Use what the application itself started; `close` only detaches then."""

    @staticmethod
    def is_subscriber(candidate: object) -> bool:
        """Tell whether *candidate* receives messages itself, rather than being called."""

    @property
    def config(self) -> Config: ...

    @property
    def storage(self) -> Storage: ...

    def append(self, append: Append, deadline: float) -> Committed:
        """Store an append.

        Raises:
            AppendError, OutcomeUnknownError, StorageUnavailableError, NotRunningError: As the
                facade documents them.
        """

    def subscribe(
        self,
        stream_id: str,
        subscription_name: str,
        subscriber: Any,
        options: SubscriptionOptions,
    ) -> Subscription:
        """Connect a subscriber; return when the subscription is ours or waits as a standby.

        Raises:
            SubscriptionInUseError: A living subscriber is connected in this runtime, or another
                runtime owns it and the options say so.
        """

    def unsubscribe(self, stream_id: str, subscription_name: str) -> None:
        """Stop a subscription of this runtime and release it.

        Raises:
            SubscriptionNotFoundError: None of that name runs here.
        """

    def subscription(self, stream_id: str, subscription_name: str) -> Subscription | None:
        """Return the handle of a subscription that runs here."""

    def health(self) -> Health: ...

    def wait_stopped(self, timeout: float | None) -> bool:
        """Block until the runtime stopped, by `close` or by a failure.

        Returns:
            Whether it stopped within *timeout* seconds.

        Raises:
            EventStoreError: It failed.
        """

    def close(self, timeout: float) -> None:
        """Stop sending, wait for acks in flight, answer every append, release everything.

        Bounded by *timeout* seconds; harmless when repeated; may be called by a handler.
        """

    def abandon(self) -> None:
        """After a fork: forget everything without touching a socket, a lock or a thread."""
