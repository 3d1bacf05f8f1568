"""State of one delivery run: fence, lease deadline, retry time. Reads the clock, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter

from eventstore.model.caught_error import CaughtError
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.ownership import Fence, Progress
from eventstore_actors.delivering.courses import Tries
from eventstore_actors.delivering.delivery import Delivery

__all__ = ["Failure", "Replay", "Run", "Stage", "traceback_field"]


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
    """An error of user code, and how often the oldest event has failed in a row."""

    error: CaughtError
    tries: Tries
    stage: Stage
    place: int
    """Position that delivery must get past for the failure to be over."""

    @classmethod
    def of(cls, error: CaughtError, tries: Tries, stage: Stage, delivery: Delivery) -> Failure:
        """Return a failure at the place where *delivery* is."""
        return cls(error, tries, stage, _PROGRESS_OF[stage](delivery))

    @property
    def attempts(self) -> int:
        """Attempts that the oldest event has used up."""
        return self.tries.used

    def is_over(self, delivery: Delivery) -> bool:
        """Return whether *delivery* has got past the place of the failure."""
        return _PROGRESS_OF[self.stage](delivery) > self.place


@dataclass(slots=True)
class Replay:
    """A key of which parked events are delivered again; the new events wait meanwhile."""

    key: str
    up_to: int
    """Position of the last parked event that is delivered again."""
    fresh: Delivery
    """The delivery of new events; nothing of it is in flight."""
    failure: Failure | None
    """The last failure of new events."""
    delivered: int = -1
    """Position up to which its events were delivered, as was noted."""


@dataclass(slots=True)
class Run:
    """A delivery run: lasts from a claim or a failed batch until the next one."""

    number: int
    subscription_id: int
    fence: Fence
    delivery: Delivery
    """Of new events, or of the parked ones of one key."""
    good_until: float
    """Deadline of the lease, on `time.monotonic`; nothing is sent after it."""
    progress_at: float
    """When an event was last acknowledged, or sent while nothing was in flight."""
    least: int = 0
    """What transactions of the handler have stored; 0 unless it is transactional."""
    read_at: float = 0.0
    """When to read again after a failure of user code or of the database."""
    away: bool = False
    """The database did not answer the last read."""
    replay: Replay | None = None
    """The key that is delivered again, if any."""
    delivered: dict[str, int] = field(default_factory=dict)
    """Up to where keys were delivered again, of which that is not removed yet."""
    ended: set[str] = field(default_factory=set)
    """Those of them of which no read finds more."""
    removed_at: float = 0.0
    """When what was delivered again was last removed."""

    @property
    def fresh(self) -> Delivery:
        """The delivery of new events: the checkpoint is its own."""
        return self.delivery if self.replay is None else self.replay.fresh

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
        state = self.delivery.state
        if state is SubscriptionState.LIVE and not self.fresh.caught_up:
            return SubscriptionState.CATCHING_UP
        return state

    def progress(
        self, state: SubscriptionState, failure: Failure | None, checkpoint: int
    ) -> Progress:
        """Return the progress to store in the subscription's row."""
        return Progress(
            self.fence,
            checkpoint,
            state,
            None if failure is None else failure.error.full_text,
            0 if failure is None else failure.attempts,
            self.least,
        )


def traceback_field(error: CaughtError, before: Failure | None) -> dict[str, str]:
    """Return the traceback for a log entry; nothing if the attempt before failed alike."""
    is_known = before is not None and before.error.text == error.text
    return {} if is_known else {"exception": error.traceback}
