"""A delivery run and what may be said about it; no effects but the look at the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter

from eventstore.model.subscription import SubscriptionState
from eventstore.ports.ownership import Fence, Progress
from eventstore_actors.delivering.delivery import Delivery

__all__ = ["Failure", "Run", "Stage"]


class Stage(Enum):
    """Where user code failed, which tells when that is over."""

    HANDLER = "handler"
    READING = "reading"
    """Decoder, selector or mapper."""


_PLACE: dict[Stage, Callable[[Delivery], int]] = {
    Stage.HANDLER: attrgetter("checkpoint"),
    Stage.READING: attrgetter("read_up_to"),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """User code raised, *attempts* times in a row, at one place."""

    error: BaseException
    attempts: int
    stage: Stage
    place: int

    @classmethod
    def of(
        cls, error: BaseException, stage: Stage, delivery: Delivery, before: Failure | None
    ) -> Failure:
        """Return the failure that comes after *before*."""
        attempts = 1 if before is None else before.attempts + 1
        return cls(error, attempts, stage, _PLACE[stage](delivery))

    def is_over(self, delivery: Delivery) -> bool:
        """Tell whether the delivery came past the place."""
        return _PLACE[self.stage](delivery) > self.place


@dataclass(slots=True)
class Run:
    """From a claim, or from a batch that failed, to the next."""

    number: int
    subscription_id: int
    fence: Fence
    delivery: Delivery
    good_until: float
    """When the lease ends, unless it is renewed; nothing is sent after that."""
    progress_at: float
    """When something was acknowledged, or sent while nothing was in flight."""
    read_at: float = 0.0
    """Nothing is read before this moment: a failure or the database needs time."""
    away: bool = False
    """The database did not answer the last read."""

    def is_held(self) -> bool:
        return time.monotonic() < self.good_until

    def may_read(self) -> bool:
        return not self.read_at or time.monotonic() >= self.read_at

    def is_overdue(self, ack_timeout: float | None) -> bool:
        """Tell whether what is in flight has been there too long without any acknowledgement."""
        due = self.overdue_at(ack_timeout)
        return due is not None and time.monotonic() >= due

    def overdue_at(self, ack_timeout: float | None) -> float | None:
        if ack_timeout is None or not self.delivery.in_flight:
            return None
        return self.progress_at + ack_timeout

    def state(self, failure: Failure | None) -> SubscriptionState:
        """Return where it stands; nothing of it is stored."""
        if not self.is_held():
            return SubscriptionState.WAITING
        if self.delivery.paused:
            return SubscriptionState.PAUSED
        if self.away:
            return SubscriptionState.WAITING
        if failure is not None:
            return SubscriptionState.RETRYING
        return self.delivery.state

    def progress(self, state: SubscriptionState, failure: Failure | None) -> Progress:
        """Return what its row should say."""
        return Progress(
            self.fence,
            self.delivery.checkpoint,
            state,
            None if failure is None else repr(failure.error),
            0 if failure is None else failure.attempts,
        )
