"""A subscription's actor without its supervisor: the test is publisher, and perhaps keeper."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pykka

from eventstore.model.events import RecordedEvent
from eventstore.model.names import ALL_STREAMS
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import Subscription, SubscriptionOptions
from eventstore.ports.ownership import Fence, Kept
from eventstore_actors.delivering.subscription_actor import SubscriptionActor
from eventstore_actors.kernel.messages import Child, ChildRestarted, HeadMoved, Ref, Renewed
from eventstore_actors.owning.keeper import Keeper
from eventstore_actors.state.seat import Seat
from eventstore_actors.state.subscription_handle import SubscriptionHandle
from tests.support.rooms import LONG, Rooms, encoded, one, soon

__all__ = ["Seated", "append", "let_pass", "numbers", "start_keeper"]


class Seated:
    """A running subscription."""

    def __init__(
        self,
        rooms: Rooms,
        subscriber: Any,
        *,
        stream_id: str = ALL_STREAMS,
        name: str = "shipping",
        **options: Any,
    ) -> None:
        self.rooms = rooms
        self.handle = SubscriptionHandle(
            stream_id,
            name,
            config=rooms.config,
            storage=rooms.storage,
            supervisor=rooms.supervisor.ref,
        )
        self.seat = Seat(self.handle, subscriber, SubscriptionOptions(**options))
        self.ref: Ref = self.sit(pykka.ThreadingFuture[Subscription]())

    def sit(self, reply: pykka.ThreadingFuture[Subscription] | None = None) -> Ref:
        """Start the actor, again after a crash, and wait for its answer if there is one."""
        self.ref = SubscriptionActor.start(self.rooms.shared, self.seat, reply)
        if reply is not None:
            reply.get(timeout=LONG)
        return self.ref

    def append(self, count: int, stream_id: str = "order-1") -> None:
        """Store events, and announce them as the publisher does."""
        self.ref.tell(HeadMoved(append(self.rooms, count, stream_id)))

    def renew(self, seconds: float, *, asked_at: float | None = None, **row: Any) -> None:
        """Tell what its row says and that the lease is good for *seconds*, as the keeper does."""
        now = time.monotonic()
        values = {
            "owned": True,
            "stored": True,
            "checkpoint": self.handle.checkpoint,
            "paused": False,
            **row,
        }
        kept = Kept(fence=self.fence(), **values)
        self.ref.tell(Renewed(kept, now + seconds, now if asked_at is None else asked_at))

    def settle(self) -> None:
        """Wait until everything that it was told before was handled."""
        self.ref.ask(ChildRestarted(Child.WRITER), timeout=LONG)

    def fence(self) -> Fence:
        key = (self.handle.stream_id, self.handle.subscription_name)
        info = self.rooms.storage.subscription_info(*key, soon())
        return Fence(info.subscription_id, self.seat.owner, info.epoch)


def append(rooms: Rooms, count: int, stream_id: str = "order-1", *, size: int = 2) -> int:
    """Store *count* events and return the head."""
    session = rooms.storage.append_session()
    try:
        events = [encoded(b'"' + b"x" * (size - 2) + b'"') for _ in range(count)]
        session.append([one(stream_id, -1, *events)], soon())
    finally:
        session.close()
    return rooms.storage.stream_info(ALL_STREAMS, soon()).stream_version


def let_pass(seconds: float) -> None:
    """Let time go by where the passing of time is what the test is about."""
    threading.Event().wait(seconds)


def start_keeper(rooms: Rooms) -> Ref:
    keeper: Ref = Keeper.start(rooms.shared)
    rooms.shared.directory.enter(Child.KEEPER, keeper)
    return keeper


def numbers(events: Events | Sequence[RecordedEvent]) -> list[int]:
    return [event.position for event in events]
