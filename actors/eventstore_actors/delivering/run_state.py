"""State of one delivery run: fence, lease deadline, retry time. Reads the clock, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter

from eventstore.model.caught_error import CaughtError
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.ownership import Fence, Progress
from eventstore_actors.delivering.delivery import Delivery

__all__ = ["Failure", "Run", "Stage", "traceback_field"]


class Stage(Enum):
    """The stage at which user code failed; it decides when the failure is over."""

    HANDLER = "handler"
    READING = "reading"
    """Decoder, selector or mapper."""


_PROGRESS_OF: dict[Stage, Callable[[Delivery], int]] = {
    Stage.HANDLER: attrgetter("checkpoint"),
    Stage.READING: attrgetter("read_up_to"),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of user code, and how many attempts in a row have failed."""

    error: CaughtError
    attempts: int
    stage: Stage
    place: int
    """Position that delivery must get past for the failure to be over."""

    @classmethod
    def of(
        cls, error: CaughtError, stage: Stage, delivery: Delivery, before: Failure | None
    ) -> Failure:
        """Return the failure that follows *before*, the previous one without a recovery."""
        attempts = 1 if before is None else before.attempts + 1
        return cls(error, attempts, stage, _PROGRESS_OF[stage](delivery))

    def is_over(self, delivery: Delivery) -> bool:
        """Return whether *delivery* has got past the place of the failure."""
        return _PROGRESS_OF[self.stage](delivery) > self.place


@dataclass(slots=True)
class Run:
    """A delivery run: lasts from a claim or a failed batch until the next one."""

    number: int
    subscription_id: int
    fence: Fence
    delivery: Delivery
    good_until: float
    """Deadline of the lease, on `time.monotonic`; nothing is sent after it."""
    progress_at: float
    """When an event was last acknowledged, or sent while nothing was in flight."""
    read_at: float = 0.0
    """When to read again after a failure of user code or of the database."""
    away: bool = False
    """The database did not answer the last read."""

    def is_held(self) -> bool:
        return time.monotonic() < self.good_until

    def may_read(self) -> bool:
        return not self.read_at or time.monotonic() >= self.read_at

    def is_overdue(self, ack_timeout: float | None) -> bool:
        """Return whether events in flight have waited too long for an acknowledgement."""
        due = self.overdue_at(ack_timeout)
        return due is not None and time.monotonic() >= due

    def overdue_at(self, ack_timeout: float | None) -> float | None:
        if ack_timeout is None or not self.delivery.in_flight:
            return None
        return self.progress_at + ack_timeout

    def state(self, failure: Failure | None) -> SubscriptionState:
        """Return the state of the subscription, derived from the run and *failure*."""
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
        """Return the progress to store in the subscription's row."""
        return Progress(
            self.fence,
            self.delivery.checkpoint,
            state,
            None if failure is None else failure.error.placed_text,
            0 if failure is None else failure.attempts,
        )


def traceback_field(error: CaughtError, before: Failure | None) -> dict[str, str]:
    """Return the traceback for a log entry; nothing if the attempt before failed alike."""
    is_known = before is not None and before.error.text == error.text
    return {} if is_known else {"exception": error.traceback}
