"""Taking a subscription over: claims it, and watches the lease of who holds it."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

from eventstore.ports.storage import Claimed, Held, LeaseMark
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat

__all__ = ["Claimant"]


@dataclass(frozen=True, slots=True)
class _Sight:
    """A lease as it was seen, and since when it looks like that, by our own clock."""

    mark: LeaseMark
    since: float


class Claimant:
    """Claims for one seat, again and again while somebody else holds the subscription."""

    def __init__(self, context: Context, seat: Seat) -> None:
        self._shared = context
        self._seat = seat
        self._sight: _Sight | None = None
        self._exists = False

    def claim(self) -> Claimed | Held:
        """Try once.

        Raises:
            StorageUnavailableError: No answer in time; try again later.
            SubscriptionNotFoundError: It was deleted after the first claim: it is not created
                again.
        """
        handle, config = self._seat.handle, self._shared.config
        key = (handle.stream_id, handle.subscription_name)
        deadline = time.monotonic() + config.connect_timeout
        if self._exists:
            self._shared.storage.subscription_info(*key, deadline)
        answer = self._shared.storage.claim(
            *key,
            start=self._seat.options.start_from,
            owner=self._seat.owner,
            owner_name=f"{socket.gethostname()}:{os.getpid()}",
            lease=config.lease,
            watched=self._dead_mark(),
            deadline=deadline,
        )
        self._exists = True
        self._look_at(answer)
        return answer

    def next_moment(self) -> float | None:
        """Return when the lease that it watches will have been unchanged for a lease."""
        if self._sight is None:
            return None
        moment = self._sight.since + self._shared.config.lease
        return moment if moment > time.monotonic() else None

    def _dead_mark(self) -> LeaseMark | None:
        """Return the mark that has not changed for a lease, whatever the database's clock says."""
        sight = self._sight
        if sight is None or time.monotonic() - sight.since < self._shared.config.lease:
            return None
        return sight.mark

    def _look_at(self, answer: Claimed | Held) -> None:
        if isinstance(answer, Claimed):
            self._sight = None
        elif self._sight is None or self._sight.mark != answer.mark:
            self._sight = _Sight(answer.mark, time.monotonic())
