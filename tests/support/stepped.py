"""Runtimes that a test drives step by step: no thread, one message at a time, a clock each.

The actors are the product's: a keeper, a subscription, their timer. Their requests to the storage
go through a `Line`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pykka

from eventstore.client.codec import Codec
from eventstore.model.errors import SubscriptionLostError
from eventstore.model.subscriber_messages import Events, Subscribed, SubscriptionLost
from eventstore.model.subscription import SubscriptionOptions
from eventstore.ports.ownership import Fence
from eventstore.ports.storage import Storage
from eventstore_actors.delivering.run_state import Run
from eventstore_actors.delivering.subscription_actor import SubscriptionActor
from eventstore_actors.kernel.actor import SupervisedActor
from eventstore_actors.kernel.inbox import Inbox
from eventstore_actors.kernel.messages import (
    Child,
    ChildRestarted,
    HeadMoved,
    Ref,
    Release,
    Stop,
    Touched,
)
from eventstore_actors.kernel.timer import Timer
from eventstore_actors.owning.keeper import Keeper
from eventstore_actors.state.announcements import Announcements
from eventstore_actors.state.context import Context, Directory
from eventstore_actors.state.recent_events import RecentEvents
from eventstore_actors.state.seat import Seat
from eventstore_actors.state.subscription_handle import SubscriptionHandle
from tests.support.clocks import Clock
from tests.support.lines import Line, World

__all__ = ["SteppedRuntime"]

ENDLESS = 1_000
"""Most messages in one turn of a runtime; more means that its actors never come to rest."""


class _Neighbours(Directory):
    """A directory whose keeper answers a release at once, because the sender waits for it."""

    def __init__(self, answer_now: Callable[[], None]) -> None:
        super().__init__()
        self._answer_now = answer_now

    def tell(self, child: Child, message: object) -> bool:
        told = super().tell(child, message)
        if told and isinstance(message, Release):
            self._answer_now()
        return told


class SteppedRuntime:
    """A keeper and a subscription, which act only when stepped, and their subscriber.

    A runtime that is not stepped is frozen; one that is dropped is killed.
    """

    actor_urn = "the subscriber"

    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self.clock = clock
        self.line = Line(world, clock)
        self.delivered: list[int] = []
        """Positions delivered in the current run."""
        self.losses = 0
        """Number of `SubscriptionLost` messages to the subscriber."""
        self._next = 0
        storage = cast(Storage, self.line)
        self._wear()
        handle = SubscriptionHandle(
            *world.key, config=world.config, storage=storage, supervisor=None
        )
        options = SubscriptionOptions(start_from=world.judge.start, buffer_size=4)
        self._handle = handle
        self._seat = Seat(handle, cast(Ref, self), options)
        self._shared = Context(
            config=world.config,
            storage=storage,
            codec=Codec(world.config.serializer),
            recent=RecentEvents(),
            announcements=Announcements(),
            timer=Timer(),
            directory=_Neighbours(self._answer_release),
            supervisor=None,
        )
        self.start_keeper()
        self._sit()

    # ── as a subscriber ──────────────────────────────────────────────────────────────────────

    @staticmethod
    def is_alive() -> bool:
        return True

    def tell(self, message: object) -> None:
        """G14, G16: no event comes after the lease has ended, and none out of order."""
        match message:
            case Subscribed():
                assert self.line.claim_answered is not None
                self._next = self.line.claim_answered.checkpoint + 1
                self.delivered.clear()
            case Events() as events:
                run = self.run
                assert run is not None
                assert self.clock.now < self.line.good_until[run.fence], "sent without a lease"
                positions = [event.position for event in events]
                assert positions == list(range(self._next, self._next + len(events)))
                self._next += len(events)
                self.delivered += positions
            case SubscriptionLost():
                self.losses += 1
            case _:
                raise TypeError(f"unexpected message: {message!r}")

    def acknowledge(self, position: int) -> None:
        """Acknowledge, in time or too late."""
        self._wear()
        run = self.run
        try:
            self._handle.ack(position)
        except SubscriptionLostError:
            return
        assert run is not None, "acknowledged without a run"
        self._world.judge.acknowledged(run.fence, position)

    # ── its actors ───────────────────────────────────────────────────────────────────────────

    @property
    def run(self) -> Run | None:
        """Its current run, as it believes."""
        return self.subscription._loop.run

    @property
    def believes(self) -> bool:
        """It would deliver now."""
        self._wear()
        return self.run is not None and self.run.is_held()

    @property
    def has_ended(self) -> bool:
        return self.subscription._ended

    def hear(self, message: HeadMoved) -> None:
        """Send what its publisher would send."""
        self.subscription.actor_ref.tell(message)

    def touch(self) -> None:
        """Tell that somebody changed the subscription."""
        known = self._seat.subscription_id
        if known is not None:
            self.keeper.actor_ref.tell(Touched(frozenset({known})))

    def turn(self) -> None:
        """Handle all messages that are due now.

        G16: a runtime that learns at a renewal of its loss tells its subscriber, and stops
        counting acknowledgements.
        """
        self._wear()
        fence, losses, self.line.lost = self._kept_fence(), self.losses, None
        for _ in range(ENDLESS):
            if not (self.step(self.keeper) or self.step(self.subscription)):
                break
        else:
            raise AssertionError("the actors never come to rest")
        if fence is not None and self.line.lost == fence:
            assert self.losses > losses
            assert self.run is None or self.run.fence != fence

    def _kept_fence(self) -> Fence | None:
        """Return the fence that the keeper renews for the current actor, not for an earlier one."""
        entry = self.keeper._entries.get(self.run.fence) if self.run else None
        if entry is None or entry.subscription != self.subscription.actor_ref:
            return None
        return entry.progress.fence

    def step(self, actor: SupervisedActor) -> bool:
        """Let *actor* handle one message; return False if there is none.

        G16: by its own clock, a runtime believes in its lease no longer than a lease after it sent
        the request.
        """
        self._wear()
        self._shared.timer.send_due(self.clock.now)
        inbox = cast(Inbox, actor.actor_inbox)
        if inbox.empty():
            return False
        message = inbox.get().message
        if not actor._ended:
            actor.on_receive(message)
        if actor.crash is not None:
            raise actor.crash
        run = self.run
        assert run is None or run.good_until <= self.line.good_until[run.fence]
        return True

    def start_keeper(self) -> None:
        """Start the keeper, or restart it after a crash; it has no state then."""
        self._wear()
        self.keeper = Keeper(self._shared)
        self.keeper.setup()
        self._shared.directory.enter(Child.KEEPER, self.keeper.actor_ref)

    def crash_keeper(self) -> None:
        self.start_keeper()
        self.subscription.actor_ref.tell(ChildRestarted(Child.KEEPER))

    def crash_subscription(self) -> None:
        """Restart it as its supervisor does: it claims again with the same owner id."""
        self._wear()
        self.subscription._end(RuntimeError("crashed"))
        self._sit()

    def stop(self) -> None:
        """Stop it in order, without waiting for acknowledgements."""
        self._wear()
        self.subscription.on_receive(Stop(self.clock.now, pykka.ThreadingFuture[None]()))
        assert self.has_ended

    def _sit(self) -> None:
        self.subscription = SubscriptionActor(self._shared, self._seat, None)
        self.subscription.setup()
        if self.subscription.crash is not None:
            raise self.subscription.crash

    def _answer_release(self) -> None:
        while self.step(self.keeper):
            pass

    def _wear(self) -> None:
        self._world.watch.worn = self.clock
