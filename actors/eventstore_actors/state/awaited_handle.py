"""The part of a subscription's handle that waits: until it has got somewhere, or has stopped."""

from __future__ import annotations

import time

from eventstore.client.awaiting import FIRST_PAUSE, newest_position, unparked_progress
from eventstore.model.awaited import Awaited, last_of, positions_in
from eventstore.model.caught_error import CaughtError
from eventstore.model.checks import check_patience
from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError, SubscriptionNotFoundError
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.storage import Storage
from eventstore.ports.waits import BLOCKING, Signal, Waits, run_blocking
from eventstore_actors.state import subscription_errors as reasons

__all__ = ["AwaitedHandle"]


class AwaitedHandle:
    """What a subscription has published, and those who wait for it; see `SubscriptionHandle`."""

    def __init__(
        self, stream_id: str, subscription_name: str, config: Config, storage: Storage
    ) -> None:
        self._stream_id = stream_id
        self._subscription_name = subscription_name
        self._config = config
        self._storage = storage
        self._state = SubscriptionState.WAITING
        self._checkpoint = 0
        self._error: CaughtError | None = None
        self._waiting: list[tuple[float, Signal]] = []
        """The awaited position of each waiting call, and what wakes it."""
        self._owned = (0, 0)
        """The subscription's id and its epoch, of the run whose checkpoint is published."""

    @property
    def stream_id(self) -> str:
        return self._stream_id

    @property
    def subscription_name(self) -> str:
        return self._subscription_name

    @property
    def state(self) -> SubscriptionState:
        return self._state

    @property
    def checkpoint(self) -> int:
        """Everything up to this position is acknowledged."""
        return self._checkpoint

    @property
    def last_error(self) -> BaseException | None:
        """The error that makes it retry, or that stopped it."""
        return None if self._error is None else self._error.error

    @property
    def last_error_text(self) -> str | None:
        return None if self._error is None else self._error.placed_text

    def wait_for(self, what: Awaited, timeout: float) -> None:
        """Block until *what* is delivered and acknowledged, by whichever process owns it.

        Raises:
            EventParkedError: An event of it is parked.
            DeliveryTimeoutError: *timeout* seconds passed, or the subscription stopped.
            StorageUnavailableError: Nobody knows whether it was reset meanwhile.
        """
        run_blocking(self.reached(what, timeout, BLOCKING))

    def caught_up(self, timeout: float) -> None:
        """Block until it has got past everything that is stored now; parked events do not count.

        Raises:
            DeliveryTimeoutError: *timeout* seconds passed, or the subscription stopped.
            StorageUnavailableError: Nobody knows what is stored.
        """
        run_blocking(self.reached(None, timeout, BLOCKING))

    async def reached(
        self,
        what: Awaited | None,
        timeout: float,
        waits: Waits,
    ) -> None:
        """Do what `wait_for` does, and wait as *waits* does; None: do what `caught_up` does."""
        deadline = time.monotonic() + check_patience("timeout", timeout)
        if what is None:
            awaited, position = [], await waits.call(self._newest_position)
        else:
            awaited = positions_in(self._stream_id, what)
            position = last_of(awaited)
        if not await self._passed(position, awaited, deadline, waits):
            text = self.last_error_text
            raise reasons.not_delivered_in_time(self, position, timeout, text) from self.last_error

    async def _passed(
        self, position: int, awaited: list[range], deadline: float, waits: Waits
    ) -> bool:
        """Wait until everything up to *position* is acknowledged; False: it was not in time.

        Raises:
            EventParkedError: Something of *awaited* is parked.
            StorageUnavailableError: Nobody knows whether it is still acknowledged.
        """
        answer_by, pause = self._answer_by(), FIRST_PAUSE
        while True:
            settled = await self._settled(position, self._poll_time(deadline), waits)
            if settled:
                answer_by = self._answer_by()
            if await self._is_stored(position, awaited, max(deadline, answer_by), waits):
                return True
            if self._state is SubscriptionState.STOPPED or time.monotonic() >= deadline:
                return False
            if settled:  # in a run that has ended, of which its actor has not heard yet
                await waits.pause(min(pause, self._poll_time(deadline)))
                pause *= 2
            answer_by = deadline

    async def _is_stored(
        self, position: int, awaited: list[range], deadline: float, waits: Waits
    ) -> bool:
        """Return whether everything up to *position* is acknowledged, by whoever owns it now.

        What the handle knows counts only if the row still belongs to its run: another process may
        have taken it over, and anybody may have reset it.
        """
        # In this order: the checkpoint is of this run, or of a later one.
        owned, key = self._owned, (self._stream_id, self._subscription_name)
        reached = self._checkpoint >= position
        try:
            stored = await unparked_progress(self._storage, *key, awaited, deadline, waits)
        except SubscriptionNotFoundError:  # what was parked went with it
            return reached
        except StorageUnavailableError:
            if reached and self._state is not SubscriptionState.STOPPED:
                raise
            return reached
        if (stored.subscription_id, stored.epoch) != owned:
            reached = False
        return reached or stored.checkpoint >= position

    def _newest_position(self) -> int:
        return newest_position(self._storage, self._stream_id, self._answer_by())

    def _answer_by(self) -> float:
        return time.monotonic() + self._config.connect_timeout

    def _is_settled(self, position: float) -> bool:
        return self._checkpoint >= position or self._state is SubscriptionState.STOPPED

    def _poll_time(self, deadline: float) -> float:
        """Return the seconds to wait before the storage is asked how far another owner is."""
        return max(0.0, min(self._config.poll_interval, deadline - time.monotonic()))

    async def _settled(self, position: float, timeout: float, waits: Waits) -> bool:
        """Wait until everything up to *position* is acknowledged, or it has stopped.

        Returns:
            False if *timeout* seconds passed first.
        """
        if self._is_settled(position):
            return True
        waiter = (position, waits.signal())
        # Before the value is read again, so that no change is missed.
        self._waiting.append(waiter)
        try:
            await waiter[1].wait(0.0 if self._is_settled(position) else timeout)
            return self._is_settled(position)
        finally:
            self._waiting.remove(waiter)

    def _notify(self) -> None:
        """Wake those who wait for what has come true."""
        for position, signal in tuple(self._waiting):
            if self._is_settled(position):
                signal.set()
