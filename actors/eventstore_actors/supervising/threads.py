"""The threads of a runtime: which do not go on, and the crashes of those that are no actors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from eventstore.model.errors import NotRunningError
from eventstore.model.log import get_logger
from eventstore_actors.announcing.announcer import QUIET
from eventstore_actors.kernel.messages import Child, ThreadCrashed
from eventstore_actors.owning.keeper import RENEWALS
from eventstore_actors.state.context import Context
from eventstore_actors.supervising.restart_budget import GiveUp, RestartBudget
from eventstore_actors.supervising.services import Services

__all__ = ["LookAtThreads", "Threads"]

LOOK = 1.0
"""Seconds between two looks whether every thread goes on."""

BOUND = 2.0
"""Seconds that a turn may take, beyond the deadline of the call that it waits for."""

log = get_logger()


@dataclass(frozen=True, slots=True)
class LookAtThreads:
    """From the timer to the supervisor: look whether every thread goes on."""


class Threads:
    """Asks every thread for its turns; used by the supervisor alone."""

    def __init__(self, context: Context, services: Services) -> None:
        self._shared = context
        self._services = services
        self._budgets: dict[str, RestartBudget] = {}
        self.restarts = 0

    def look(self) -> None:
        """Ask the actors for a turn, and look again later."""
        self._services.await_turns()
        self._shared.storage.check_threads()
        assert self._shared.supervisor is not None
        self._shared.timer.after(LOOK, self._shared.supervisor, LookAtThreads())

    def stuck(self) -> tuple[str, ...]:
        """Return the names of the threads that have not gone on in time."""
        return tuple(name for name, late, bound in self._delays() if late > bound)

    def crashed(self, message: ThreadCrashed) -> None:
        """Note the crash of a thread that is no actor; it has gone on already.

        Raises:
            NotRunningError: It crashed too often.
        """
        thread, error, config = message.thread, message.error, self._shared.config
        budget = self._budgets.setdefault(
            thread, RestartBudget(config.max_restarts, config.restart_window)
        )
        decision = budget.crashed(error, time.monotonic())
        if isinstance(decision, GiveUp):
            raise NotRunningError(
                f"the store stopped: its {thread} crashed {decision.crashes} times within"
                f" {config.restart_window} s: {error!r}"
            ) from error
        log.error("thread crashed", thread=thread, error=repr(error))
        self.restarts += 1

    def _delays(self) -> Iterator[tuple[str, float, float]]:
        """Yield each thread's name, for how many seconds it is late, and how many are allowed."""
        shared, config, services = self._shared, self._shared.config, self._services
        statement = min(config.lease / RENEWALS, config.connect_timeout)
        yield "writer", services.overdue(Child.WRITER), BOUND
        yield "publisher", services.overdue(Child.PUBLISHER), BOUND
        # It releases, renews and looks within one turn.
        yield "keeper", services.overdue(Child.KEEPER), BOUND + 3 * statement
        yield "listener", shared.listening.overdue(), BOUND + config.connect_timeout
        announcing = shared.announcements.pulse.overdue()
        # It looks at transactions of callers first.
        yield "announcer", announcing, BOUND + QUIET + 2 * config.connect_timeout
        yield "timer", shared.timer.overdue(), BOUND
        yield "watchdog", shared.storage.overdue(), BOUND
