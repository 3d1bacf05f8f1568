"""A thread that waits for events, as one of those whom the publisher tells."""

from __future__ import annotations

from typing import Any

import pykka

from eventstore.ports.runtime import Wake
from eventstore_actors.kernel.messages import HeadMoved

__all__ = ["WaitingThread"]


class WaitingThread:
    """Takes messages of the publisher like a subscription's actor, and wakes a thread."""

    def __init__(self, wake: Wake) -> None:
        # Of the function, so that the same one is told once.
        self.actor_urn = f"waiting-thread-{id(wake):x}"
        self._wake = wake

    def tell(self, message: Any) -> None:
        """Wake the thread.

        Raises:
            pykka.ActorDeadError: It does not wait any more; the publisher then forgets it.
        """
        position = message.position if isinstance(message, HeadMoved) else None
        if not self._wake(position):
            raise pykka.ActorDeadError(f"{self.actor_urn} is not heard any more")
