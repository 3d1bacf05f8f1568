"""The signal that an event has killed its process too often."""

from __future__ import annotations

from eventstore.model.caught_error import CaughtError
from eventstore_actors.delivering.courses import Decision

__all__ = ["DeadlyEventError"]


class DeadlyEventError(Exception):
    """The event alone in flight is not to be handed out any more."""

    def __init__(self, decision: Decision, error: CaughtError) -> None:
        super().__init__(error.text)
        self.decision = decision
        self.error = error
