"""The signal with which a subscription ends itself."""

from __future__ import annotations

from eventstore.model.errors import EventStoreError

__all__ = ["EndOfSubscription"]


class EndOfSubscription(Exception):  # noqa: N818 - a signal to the actor, which ends itself
    """The subscription has to end because of *reason*."""

    def __init__(self, reason: EventStoreError) -> None:
        super().__init__(reason)
        self.reason = reason
