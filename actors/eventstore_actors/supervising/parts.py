"""Everything that runs once the storage is open, and the order in which it ends."""

from __future__ import annotations

import time

from eventstore.client.codec import Codec
from eventstore.ports.storage import Storage
from eventstore_actors.kernel.messages import Child, Ref
from eventstore_actors.kernel.timer import Timer
from eventstore_actors.state.context import Surroundings
from eventstore_actors.state.store_state import Tree
from eventstore_actors.supervising.children import start_permanent, start_subscription
from eventstore_actors.supervising.services import Permanent
from eventstore_actors.supervising.shutdown import stop_and_wait
from eventstore_actors.supervising.subscriptions import Seats

__all__ = ["Parts"]

_RESERVE = 1.0
"""Seconds before the deadline at which acknowledgements are not waited for any more."""

_LEAST = 0.5
"""Seconds beyond the deadline in which those may end who had none left before it."""


class Parts:
    """The timer, the permanent children and the subscriptions of one supervisor."""

    def __init__(self, tree: Tree, storage: Storage, supervisor: Ref) -> None:
        config = tree.config
        self._shared = Surroundings(
            config=config,
            storage=storage,
            codec=Codec(config.serializer, config.types),
            recent=tree.recent,
            timer=Timer(),
            directory=tree.directory,
            supervisor=supervisor,
            turn=tree.turn,
        )
        self.permanent = Permanent(self._shared, start_permanent)
        self.seats = Seats(self._shared, tree, start_subscription)

    @property
    def restarts(self) -> int:
        return self.permanent.restarts + self.seats.restarts

    def start(self) -> None:
        self._shared.timer.start()
        self.permanent.start_all()

    def end(self, deadline: float, *, acks: bool, reason: BaseException | None) -> list[str]:
        """End everything in the order in which the parts need each other.

        Args:
            deadline: When to leave alone what has not ended.
            acks: Wait for acknowledgements of what is in flight.
            reason: Why, if nobody asked for it; shown by the handles.

        Returns:
            The names of those that have not ended.
        """
        late = self._end_subscriptions(deadline, acks=acks, reason=reason)
        self.seats.close(reason)
        late += self._end_permanent([Child.WRITER], deadline)
        late += self._end_permanent([Child.KEEPER, Child.PUBLISHER], deadline)
        self._shared.timer.stop()
        self._shared.storage.close()
        return late

    def _end_subscriptions(
        self, deadline: float, *, acks: bool, reason: BaseException | None
    ) -> list[str]:
        now = time.monotonic()
        reserve = min(_RESERVE, (deadline - now) / 4)
        return stop_and_wait(
            self.seats.actors(),
            deadline=deadline - reserve if acks else now,
            wait_until=deadline,
            reason=reason,
        )

    def _end_permanent(self, children: list[Child], deadline: float) -> list[str]:
        """End them; whoever used up the time before leaves them a little of their own."""
        found = {str(child): ref for child in children if (ref := self.permanent.find(child))}
        for child in children:
            self.permanent.gone(child)
        wait_until = max(deadline, time.monotonic() + _LEAST)
        return stop_and_wait(found, deadline=deadline, wait_until=wait_until)
