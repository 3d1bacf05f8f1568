"""Fake children of a supervisor, which die and report as a test says, and their stage."""

from __future__ import annotations

from typing import cast
from uuid import uuid4

import pykka
import pytest

from eventstore.model.subscription import Subscription
from eventstore_actors.kernel.actor import answer
from eventstore_actors.kernel.messages import Beat, Child, ChildFailed, ChildStopped, Ref, Stop
from eventstore_actors.kernel.shared_timer import SharedTimer
from eventstore_actors.kernel.timer import Timer
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat
from tests.support.clocks import OF_RESTARTS, Watch

__all__ = ["Key", "Puppet", "Stage"]

Key = tuple[str, str]
Report = ChildFailed | ChildStopped


class Puppet:
    """A fake actor, and at the same time its reference."""

    def __init__(self, what: Child | Key | str, stage: Stage | None = None) -> None:
        self.what = what
        self.actor_urn = uuid4().urn
        self.alive = True
        self.heard: list[object] = []
        self._stage = stage

    def is_alive(self) -> bool:
        return self.alive

    def tell(self, message: object) -> None:
        if not self.alive:
            raise pykka.ActorDeadError(f"{self.what} is dead")
        if isinstance(message, Stop):
            self.end(ChildStopped(self.actor_urn))
            answer(message.reply, None)
        elif isinstance(message, Beat):
            message.pulse.turned()
        else:
            self.heard.append(message)

    def end(self, report: Report) -> None:
        self.alive = False
        if self._stage is not None:
            self._stage.reports.append(report)


class _StillTimer(Timer):
    """A timer without a thread: a test sends the due messages."""

    def start(self) -> None:
        """Start no thread."""


class Stage:
    """Makes the children of supervisors puppets, and sets their time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Watch(monkeypatch, OF_RESTARTS).worn
        monkeypatch.setattr("eventstore_actors.kernel.shared_timer.Timer", _StillTimer)
        # Not that of the process: a stage that is not cleared never leaves it.
        monkeypatch.setattr("eventstore_actors.supervising.children.TIMER", SharedTimer())
        monkeypatch.setattr(
            "eventstore_actors.supervising.children.start_permanent", self._start_permanent
        )
        monkeypatch.setattr(
            "eventstore_actors.supervising.children.start_subscription", self._start_subscription
        )
        self.clear()

    def clear(self) -> None:
        self.clock.now = 1_000.0
        self.started: list[Puppet] = []
        """Every child, in the order of the starts."""
        self.reports: list[Report] = []
        """Last reports of children that their supervisor has not read yet."""
        self.timer: Timer

    def newest(self, what: Child | Key) -> Puppet | None:
        """Return the puppet last started in the place *what*."""
        return next((each for each in reversed(self.started) if each.what == what), None)

    def told_last_at(self) -> float:
        """Return when the message last given to the timer is due."""
        due, _, _ = max(self.timer._waiting, key=lambda waiting: waiting[1])
        return due

    def pass_time(self, seconds: float) -> None:
        """Advance the clock, and send the messages that are due."""
        self.clock.now += seconds
        self.timer.send_due(self.clock.now)

    def _start_permanent(self, child: Child, context: Context) -> Ref:
        self.timer = context.timer
        return self._start(child)

    def _start_subscription(
        self,
        context: Context,
        seat: Seat,
        reply: pykka.ThreadingFuture[Subscription] | None,
    ) -> Ref:
        ref = self._start((seat.handle.stream_id, seat.handle.subscription_name))
        seat.handle.connect(ref)
        if reply is not None:
            answer(reply, seat.handle)
        return ref

    def _start(self, what: Child | Key) -> Ref:
        self.started.append(Puppet(what, self))
        return cast(Ref, self.started[-1])
