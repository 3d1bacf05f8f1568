"""How far a run is: shown by the handle at once, told to the keeper behind it."""

from __future__ import annotations

import time

from actors.directory import Directory
from actors.handle import SubscriptionHandle
from actors.messages import Child, Keep, Ref
from actors.run import Failure, Run
from actors.timer import Alarm
from eventstore.storage import Progress

__all__ = ["Reporter"]

COALESCING = 0.05
"""Seconds within which the keeper is told of progress once."""


class Reporter:
    """Reports for one subscription; used by its actor alone."""

    def __init__(
        self, handle: SubscriptionHandle, directory: Directory, subscription: Ref, alarm: Alarm
    ) -> None:
        self._handle = handle
        self._directory = directory
        self._subscription = subscription
        self._alarm = alarm
        self._told: Progress | None = None
        self._told_at = 0.0

    def show(self, run: Run, failure: Failure | None) -> None:
        """Report what changed: to the keeper now, or when it was not told for a moment."""
        delivery = run.delivery
        state, checkpoint = run.state(failure), delivery.checkpoint
        self._handle.progressed(state, checkpoint, delivery.in_flight)
        told = self._told
        if (
            told is not None
            and told.checkpoint == checkpoint
            and told.state is state
            and told.fence is run.fence
            and told.attempts == (0 if failure is None else failure.attempts)
        ):
            return
        if time.monotonic() - self._told_at >= COALESCING:
            self.tell(run, failure)
        else:
            self._alarm.at(self._told_at + COALESCING)

    def tell(self, run: Run, failure: Failure | None, *, urgent: bool = False) -> None:
        """Tell the keeper, whatever it knows already."""
        self._told = run.progress(run.state(failure), failure)
        self._told_at = time.monotonic()
        self._directory.tell(Child.KEEPER, Keep(self._told, self._subscription, urgent))
