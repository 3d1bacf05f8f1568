"""Takes over a subscription: claims it, and watches the lease of its owner."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

from eventstore.model.errors import EventStoreError, SubscriptionNotFoundError
from eventstore.model.subscription import WhenOwned
from eventstore.ports.ownership import Claim, Claimed, Fence, Held, LeaseMark, Standing
from eventstore_actors.kernel.lane import LANE
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat, is_of_this_process

__all__ = ["Claimant"]

_LOCKED_FOR_A_MOMENT = 0.25
"""Seconds for which the first claim is repeated while a transaction has locked the row."""

_PAUSE = 0.02
"""Seconds between two of those claims."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """A lease as it was seen, and since when it has not changed, by our own clock."""

    mark: LeaseMark
    since: float


class Claimant:
    """Claims the subscription of one seat whenever it may be free.

    The first claim is by name and may create the subscription, unless its id is known. All others
    are by id: a subscription that was deleted is not created again.
    """

    def __init__(self, context: Context, seat: Seat) -> None:
        self._shared = context
        self._seat = seat
        self._sight: _Sight | None = None
        self._claimed_as_dead = False
        """The last claim said that the owner had been silent for a lease."""

    def claim(self) -> Claimed | Held:
        """Claim once. The first claim is repeated for a moment while the row is locked.

        Raises:
            StorageUnavailableError: No answer in time; try again later.
            SubscriptionNotFoundError: It was deleted since its id is known.
        """
        is_first = self._seat.position_id is None
        answer = self._claim()
        until = time.monotonic() + _LOCKED_FOR_A_MOMENT
        while is_first and _is_locked(answer) and time.monotonic() < until:
            time.sleep(_PAUSE)
            answer = self._claim()
        return answer

    def next_moment(self) -> float | None:
        """Return the moment at which the watched lease counts as dead if it does not change."""
        return None if self._sight is None else self._sight.since + self._shared.config.lease

    def is_due(self) -> bool:
        """Return whether to claim without reading the row first.

        True until the first claim was answered, and when the watched lease counts as dead.
        """
        return self._seat.position_id is None or self._dead_mark() is not None

    def sees(self, standing: Standing) -> bool:
        """Record what the row says.

        Returns:
            Whether to claim now: it is free, its owner has been silent for a lease, or it is ours
            by a claim whose answer was lost.
        """
        mark = standing.mark
        if mark is None or standing.expired or mark.owner == self._seat.owner:
            return True
        self._watch(mark)
        return self._dead_mark() is not None

    def may_stand_by(self, held: Held, *, asked: bool) -> bool:
        """Return whether to wait for the end of another owner; *asked*: a caller waits for that."""
        when_owned = self._seat.options.when_owned
        if when_owned is not None:
            return when_owned is WhenOwned.WAIT
        return not (asked and _is_ours(held))

    def must_watch(self, held: Held) -> bool:
        """Return whether only up to a lease of watching can tell that the owner lives."""
        was_watched = self._claimed_as_dead and self.is_due()
        return held.clock_set_back and not (_is_ours(held) or was_watched)

    def has_lost(self, fence: Fence) -> bool:
        """Read the row: return whether it was deleted, reset or taken over.

        False also while the storage cannot be reached: then nobody knows better.
        """
        handle, deadline = self._seat.handle, time.monotonic() + self._shared.config.connect_timeout
        LANE.leave()
        try:
            stored = self._shared.storage.stored_progress(
                handle.stream_id, handle.subscription_name, deadline
            )
        except SubscriptionNotFoundError:
            return True
        except EventStoreError:
            return False
        return (stored.subscription_id, stored.epoch) != (self._seat.subscription_id, fence.epoch)

    def _claim(self) -> Claimed | Held:
        handle, config = self._seat.handle, self._shared.config
        claim = Claim(
            stream_id=handle.stream_id,
            subscription_name=handle.subscription_name,
            start=self._seat.options.start_from,
            owner=self._seat.owner,
            owner_name=f"{socket.gethostname()}:{os.getpid()}",
            lease=config.lease,
            subscription_id=self._seat.subscription_id,
            watched=self._dead_mark(),
            options=self._seat.options.stored,
        )
        self._claimed_as_dead = claim.watched is not None
        LANE.leave()
        answer = self._shared.storage.claim(claim, time.monotonic() + config.connect_timeout)
        self._seat.subscription_id = answer.subscription_id
        if isinstance(answer, Claimed):
            self._sight = None
            self._seat.fence = answer.fence
            self._seat.position_id = answer.fence.position_id
        else:
            self._seat.position_id = answer.position_id
            self._watch(answer.mark)
        return answer

    def _watch(self, mark: LeaseMark | None) -> None:
        if mark is not None and (self._sight is None or self._sight.mark != mark):
            self._sight = _Sight(mark, time.monotonic())

    def _dead_mark(self) -> LeaseMark | None:
        """Return the mark if it has not changed for a whole lease by our own clock."""
        sight = self._sight
        if sight is None or time.monotonic() - sight.since < self._shared.config.lease:
            return None
        return sight.mark


def _is_ours(held: Held) -> bool:
    return held.mark is not None and is_of_this_process(held.mark.owner)


def _is_locked(answer: Claimed | Held) -> bool:
    return isinstance(answer, Held) and answer.since is None
