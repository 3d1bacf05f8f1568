"""A runtime without threads: it appends and reads in the caller's, and has no subscriptions."""

from __future__ import annotations

import threading
import time
from typing import Any, NoReturn, Self

from eventstore.client.targets import storage_for
from eventstore.model.config import Config
from eventstore.model.errors import (
    EventStoreError,
    NotRunningError,
    OutcomeUnknownError,
    StorageUnavailableError,
    SubscriptionNotFoundError,
)
from eventstore.model.subscription import SubscriptionOptions
from eventstore.ports.runtime import LAST_CHANCE, Health, Wake
from eventstore.ports.storage import AppendSession, Storage
from eventstore.ports.stored_events import Append, Committed, Outcome
from eventstore.ports.waits import Waits

__all__ = ["CallerRuntime"]

_RETRY_PAUSE = 0.1
_LONGEST_PAUSE = 1.0
"""Seconds; the pause between two attempts doubles up to it."""

_ANNOUNCE_WAIT = 0.02
"""Seconds that an append, which is stored already, waits for other commits that announce."""


class CallerRuntime:
    """The runtime for scripts and command lines: every call runs in the caller's thread."""

    def __init__(self, config: Config, storage: Storage) -> None:
        self.config = config
        self.storage = storage
        self._session = storage.append_session()
        self._session_free = threading.Lock()
        self._closed = threading.Event()

    @classmethod
    def start(
        cls,
        config: Config,
        *,
        init: bool,
        pool: object | None = None,
        beside: Storage | None = None,
    ) -> Self:
        """Open the storage; see `Runtime.start`."""
        storage = storage_for(config, pool=pool, create=init, beside=beside)
        try:
            storage.open(init=init, deadline=time.monotonic() + config.connect_timeout)
        except BaseException:
            storage.close()
            raise
        return cls(config, storage)

    @classmethod
    def attach(cls, handle: Any, timeout: float) -> NoReturn:
        """Refuse: there is no supervisor to attach to."""
        raise NotRunningError(f"CallerRuntime cannot attach to {handle!r}: it has no actors")

    @staticmethod
    def is_subscriber(candidate: object) -> bool:
        """Return False: this runtime sends no messages."""
        return False

    def append(self, append: Append, deadline: float) -> Committed:
        """Store *append*; retry with the same ids until *deadline*."""
        if not self._session_free.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise StorageUnavailableError("the appends before this one took until the deadline")
        try:
            outcome = _appended(self._session, append, deadline, self._closed)
            if isinstance(outcome, Committed) and not outcome.repeated:
                self._session.announce(_ANNOUNCE_WAIT)
        finally:
            self._session_free.release()
        if isinstance(outcome, Committed):
            return outcome
        raise outcome

    async def append_waiting(self, append: Append, deadline: float, waits: Waits) -> Committed:
        """Store *append*; see `Runtime.append_waiting`."""
        return await waits.call(self.append, append, deadline)

    def await_transaction(self, transaction_id: int) -> None:
        """Do nothing: no thread could wait for its end."""

    def wake(self) -> None:
        """Announce what another connection may have committed; see `Runtime.wake`."""
        # An append that is under way announces, too.
        if self._session_free.acquire(blocking=False):
            try:
                self._session.announce(_ANNOUNCE_WAIT)
            finally:
                self._session_free.release()

    def subscribe(
        self,
        stream_id: str,
        subscription_name: str,
        subscriber: Any,
        options: SubscriptionOptions,
        subscription_id: int | None = None,
    ) -> NoReturn:
        """Refuse: delivery needs threads."""
        raise NotRunningError(
            f"subscription {subscription_name!r} to {stream_id!r} needs a runtime with actors;"
            " CallerRuntime appends and reads only"
        )

    def unsubscribe(self, stream_id: str, subscription_name: str) -> NoReturn:
        """Refuse: nothing is subscribed here."""
        raise SubscriptionNotFoundError(stream_id, subscription_name)

    def subscription(self, stream_id: str, subscription_name: str) -> None:
        """Return None: nothing is subscribed here."""

    def watch(self, stream_id: str, wake: Wake) -> None:
        """Do nothing: this runtime hears of nothing."""

    def forget(self) -> None:
        """Do nothing: it holds no events."""

    def health(self) -> Health:
        """Return the health of a runtime that has no parts."""
        return Health(
            running=not self._closed.is_set(),
            stuck=(),
            database_reachable=True,
            head=None,
            queued_appends=0,
            queued_bytes=0,
            restarts=0,
            listening=False,
            subscriptions=(),
            failure=None,
        )

    def wait_stopped(self, timeout: float | None, *, any_subscription: bool = False) -> bool:
        """Block until the runtime is closed; return whether it is."""
        return self._closed.wait(timeout)

    def stop_by(self, deadline: float) -> None:
        """Retry no append any more; see `Runtime.stop_by`."""
        self._closed.set()

    def close(self, timeout: float) -> None:
        """Wait for the running append, at most *timeout* seconds, and close every connection."""
        self._closed.set()
        held = self._session_free.acquire(timeout=timeout)
        try:
            self._session.close()
            self.storage.close()
        finally:
            if held:
                self._session_free.release()

    def abandon(self) -> None:
        """Forget the connections without touching them."""
        self._closed.set()


def _appended(
    session: AppendSession, append: Append, deadline: float, closed: threading.Event
) -> Outcome:
    """Send *append* until it is answered or *deadline* has passed; its ids make it idempotent."""
    maybe_stored: OutcomeUnknownError | None = None
    reason: EventStoreError
    pause = _RETRY_PAUSE
    while True:
        try:
            return session.append([append], deadline)[0]
        except OutcomeUnknownError as error:
            maybe_stored = reason = error
        except StorageUnavailableError as error:
            reason = maybe_stored or error
        if closed.wait(min(pause, max(0.0, deadline - time.monotonic()))):
            raise reason
        if deadline - time.monotonic() <= LAST_CHANCE:
            raise reason
        pause = min(2 * pause, _LONGEST_PAUSE)
