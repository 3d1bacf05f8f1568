"""The permanent children: writer, publisher and keeper. A store does not run without them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from eventstore.model.errors import NotRunningError
from eventstore.model.log import get_logger
from eventstore.model.safe_text import error_text
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Beat, Child, Ref
from eventstore_actors.kernel.pulse import Pulse
from eventstore_actors.state.context import Context
from eventstore_actors.supervising.restart_budget import GiveUp, RestartBudget

__all__ = ["RestartService", "Services", "StartService"]

log = get_logger()

StartService = Callable[[Child, Context], Ref]

_ORDER = (Child.KEEPER, Child.PUBLISHER, Child.WRITER)
"""Order of the start. pykka's `stop_all` stops the newest first, so each stops before the ones
it sends messages to: the writer before the publisher, both before the keeper."""


@dataclass(frozen=True, slots=True)
class RestartService:
    """From the timer to the supervisor: restart this child now."""

    child: Child


@dataclass(slots=True)
class _Place:
    """The place of a child in the tree; empty while the child is being restarted."""

    budget: RestartBudget
    ref: Ref | None = None
    pulse: Pulse = field(default_factory=Pulse)
    is_up: bool = False
    restarts: int = 0


class Services:
    """Starts and restarts the permanent children; used by the supervisor alone."""

    def __init__(self, context: Context, start: StartService) -> None:
        self._shared = context
        self._start_actor = start
        config = context.config
        self._places = {
            child: _Place(RestartBudget(config.max_restarts, config.restart_window))
            for child in _ORDER
        }

    @property
    def restarts(self) -> int:
        return sum(place.restarts for place in self._places.values())

    @property
    def are_up(self) -> bool:
        return all(place.is_up for place in self._places.values())

    def start_all(self) -> None:
        for child in self._places:
            self.start(child)

    def start(self, child: Child) -> None:
        """Start *child*, unless it runs."""
        place = self._places[child]
        if place.ref is not None:
            return
        place.ref = self._start_actor(child, self._shared)
        place.pulse = self._shared.turn.pulse if child is Child.WRITER else Pulse()
        place.pulse.turned()
        self._shared.directory.enter(child, place.ref)

    def await_turns(self) -> None:
        """Ask each child that runs for a turn."""
        for place in self._places.values():
            if place.ref is not None and place.pulse.await_turn():
                try_tell(place.ref, Beat(place.pulse))

    def overdue(self, child: Child) -> float:
        """Return for how many seconds a turn of *child* has been awaited; 0 if none is."""
        place = self._places[child]
        return 0.0 if place.ref is None else place.pulse.overdue()

    def child_of(self, urn: str) -> Child | None:
        """Return the child with this actor URN; None for any other actor, and for a dead child."""
        for child, place in self._places.items():
            if place.ref is not None and place.ref.actor_urn == urn:
                return child
        return None

    def find(self, child: Child) -> Ref | None:
        return self._places[child].ref

    def up(self, child: Child) -> bool:
        """Note that *child* is up; return True if it was restarted."""
        place = self._places[child]
        place.is_up = True
        return place.restarts > 0

    def crashed(self, child: Child, error: BaseException) -> None:
        """Schedule the restart of *child*.

        Raises:
            NotRunningError: It crashed too often.
        """
        self.remove(child)
        place = self._places[child]
        decision = place.budget.crashed(error, time.monotonic())
        if isinstance(decision, GiveUp):
            raise self._crashed_too_often(child, decision, error) from error
        text = error_text(error)
        log.error("child crashed", child=child.value, restart_in=decision.delay, error=text)
        place.restarts += 1
        assert self._shared.supervisor is not None
        self._shared.timer.after(decision.delay, self._shared.supervisor, RestartService(child))

    def remove(self, child: Child) -> None:
        """Empty the place of *child*."""
        self._shared.directory.remove(child)
        place = self._places[child]
        place.ref, place.is_up = None, False

    def _crashed_too_often(
        self, child: Child, decision: GiveUp, error: BaseException
    ) -> NotRunningError:
        return NotRunningError(
            f"the store stopped: its {child} crashed {decision.crashes} times within"
            f" {self._shared.config.restart_window} s: {error_text(error)}"
        )
