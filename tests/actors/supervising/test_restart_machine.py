"""Who is restarted, when, and who gives up: the supervisor against what the design says of it.

The supervisor, its places, seats, budgets and timer are the product's own; its children are
puppets that crash and end when a rule says so, and their reports come late and in any order. Time
stands still but for the rules that let it pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import pykka
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventstore.model.config import Config
from eventstore.model.errors import (
    NotRunningError,
    OutcomeUnknownError,
    StorageUnavailableError,
    SubscriptionInUseError,
    SubscriptionNotFoundError,
)
from eventstore.model.names import ALL_STREAMS
from eventstore.model.subscriber_messages import StoreFailed, SubscriptionLost
from eventstore.model.subscription import Subscription, SubscriptionOptions, SubscriptionState
from eventstore.storages.memory import MemoryStorage
from eventstore_actors.kernel.messages import (
    Child,
    ChildFailed,
    ChildRestarted,
    ChildStopped,
    ChildUp,
    Ref,
    SeatKept,
    SeatWanted,
    Subscribe,
    Unsubscribe,
)
from eventstore_actors.state.store_state import Phase, state_of
from eventstore_actors.supervising.opener import StorageOpened
from eventstore_actors.supervising.supervisor import StoreSupervisor
from tests.support.effort import examples
from tests.support.puppets import Key, Puppet, Stage
from tests.support.restart_design import ROUNDING, Place
from tests.support.rooms import soon

errors = st.sampled_from(
    [RuntimeError, SystemExit, RuntimeError, StorageUnavailableError, OutcomeUnknownError]
)
limits = st.sampled_from([0, 1, 2, 5, 9])
windows = st.sampled_from([1.0, 10.0, 60.0])
numbers = st.integers(0, 1_000)
names = st.sampled_from(["shipping", "billing"])
places: st.SearchStrategy[Child | Key] = st.sampled_from(Child) | st.tuples(
    st.just(ALL_STREAMS), names
)
steps = st.sampled_from([0.0, 0.01, 0.1, 0.5, 2.0, 9.0, 31.0]) | st.floats(0, 40)


@dataclass(eq=False)
class Filled:
    """A place and who is in it; None: it waits for a restart."""

    place: Place
    puppet: Puppet | None
    is_up: bool = False
    restarts_at: float | None = None


@dataclass(eq=False)
class Seating(Filled):
    """The place of a subscription."""

    subscriber: Puppet = field(default_factory=lambda: Puppet("nobody"))
    handle: Subscription | None = None
    leaving: bool = False
    successor: tuple[Puppet, pykka.ThreadingFuture[Subscription]] | None = None


class RestartMachine(RuleBasedStateMachine):
    """G24, G25."""

    stage: ClassVar[Stage]

    @initialize(limit=limits, window=windows)
    def begin(self, limit: int, window: float) -> None:
        self.stage.clear()
        self.limit, self.window = limit, window
        config = Config("memory:", max_restarts=limit, restart_window=window)
        storage = MemoryStorage(config)
        storage.open(init=True, deadline=soon())
        self.parent = Puppet("parent")
        self.supervisor = StoreSupervisor(config, cast(Ref, self.parent))
        self.failed: BaseException | None = None
        self.seats: dict[Key, Seating] = {}
        self.given_up: set[Key] = set()
        self.say(StorageOpened(storage))
        assert {each.what for each in self.stage.started} == set(Child)
        self.places = {child: self.filled(child) for child in Child}

    def say(self, message: object) -> None:
        self.supervisor.on_receive(message)
        if self.supervisor.crash is not None:
            raise self.supervisor.crash

    @precondition(lambda self: self.failed)
    @rule(limit=limits, window=windows)
    def start_another_store(self, limit: int, window: float) -> None:
        self.begin(limit, window)

    def filled(self, child: Child) -> Filled:
        return Filled(Place(self.limit, self.window), self.stage.newest(child))

    # ── children ─────────────────────────────────────────────────────────────────────────────

    def place(self, what: object) -> Filled | None:
        if isinstance(what, Child):
            return self.places[what]
        return self.seats.get(cast(Key, what))

    def living(self) -> list[Puppet]:
        return [each for each in self.stage.started if each.alive]

    @precondition(lambda self: not self.failed)
    @rule(which=numbers)
    def come_up(self, which: int) -> None:
        living = self.living()
        if not living:
            return
        puppet = living[which % len(living)]
        place = self.place(puppet.what)
        hearers = [s.puppet for s in self.seats.values() if s.puppet and s.puppet.alive]
        before = [len(each.heard) for each in hearers]
        self.say(ChildUp(puppet.actor_urn))
        if isinstance(puppet.what, Child) and place is not None and place.puppet is puppet:
            place.is_up = True
            is_new = puppet is not next(s for s in self.stage.started if s.what == puppet.what)
            for each, known in zip(hearers, before, strict=True):
                told = [ChildRestarted(puppet.what)] if is_new else []
                assert each.heard[known:] == told

    @precondition(lambda self: not self.failed)
    @rule(
        what=places,
        error=errors,
        times=st.integers(1, 12),
        rest=st.sampled_from([0.0, 0.0, 0.3, 0.6, 1.1]),
        late=st.booleans(),
    )
    def crash(
        self, what: Child | Key, error: type[BaseException], times: int, rest: float, *, late: bool
    ) -> None:
        """Again and again, a part of the window after each restart; or once, heard of late."""
        if not isinstance(what, Child) and what not in self.seats:
            self.subscribe(what[1])
        filled = self.place(what)
        for _ in range(times):
            if filled is None or self.failed is not None or self.place(what) is not filled:
                return
            if filled.restarts_at is not None:
                self.pass_time(filled.restarts_at - self.stage.clock.now + ROUNDING)
            self.pass_time(rest * self.window)
            puppet = filled.puppet
            if puppet is None or not puppet.alive:
                return
            puppet.end(ChildFailed(puppet.actor_urn, error("crashed")))
            if late:
                return
            self.hear_a_report(-1)

    @precondition(lambda self: not self.failed)
    @rule(name=names, how=st.sampled_from(["by itself", "for a reason", "without a subscriber"]))
    def end_a_subscription(self, name: str, how: str) -> None:
        """In order, though nobody asked it to."""
        seating = self.seats.get((ALL_STREAMS, name))
        if seating is None:
            return
        if how == "without a subscriber":
            seating.subscriber.alive = False
        elif seating.puppet is not None and seating.puppet.alive:
            reason = RuntimeError("it has one") if how == "for a reason" else None
            seating.puppet.end(ChildStopped(seating.puppet.actor_urn, reason))

    @precondition(lambda self: not self.failed and self.stage.reports)
    @rule(which=numbers)
    def hear_a_report(self, which: int) -> None:
        reports = self.stage.reports
        report = reports.pop(which % len(reports))
        puppet = next(each for each in self.stage.started if each.actor_urn == report.urn)
        place, known = self.place(puppet.what), len(self.stage.started)
        self.say(report)
        if place is None or place.puppet is not puppet:
            assert len(self.stage.started) == known, "one of earlier is nobody's reason"
        elif isinstance(place, Seating):
            self.seat_left(cast(Key, puppet.what), place, report)
        elif isinstance(report, ChildFailed):
            self.child_crashed(cast(Child, puppet.what), report.error)

    @precondition(lambda self: not self.failed)
    @rule(seconds=steps)
    def pass_time(self, seconds: float) -> None:
        waiting = [p for _, p in self.all_places() if p.restarts_at is not None]
        known = len(self.stage.started)
        self.stage.pass_time(seconds)
        self.let_the_supervisor_read()
        due = [p for p in waiting if cast(float, p.restarts_at) <= self.stage.clock.now]
        assert len(self.stage.started) == known + len(due), "each once, and not before its time"
        for place in due:
            place.restarts_at = None
        for what, place in self.all_places():
            if place in due:
                place.puppet = self.stage.newest(what)

    def let_the_supervisor_read(self) -> None:
        inbox = cast(Any, self.supervisor.actor_inbox)
        while not inbox.empty():
            self.say(inbox.get().message)

    def all_places(self) -> list[tuple[Child | Key, Filled]]:
        return [*self.places.items(), *self.seats.items()]

    # ── what the design says of a crash ──────────────────────────────────────────────────────

    def child_crashed(self, child: Child, error: BaseException) -> None:
        """G24: started again, or everything ends, loudly."""
        self.places[child].is_up = False
        if not self.may_restart(self.places[child], error, child):
            self.failed = error
            self.everything_ended()

    def seat_left(self, key: Key, seating: Seating, report: ChildFailed | ChildStopped) -> None:
        """G24: a subscription that crashes too often ends alone."""
        if isinstance(report, ChildFailed) and not seating.leaving:
            if self.may_restart(seating, report.error, key):
                return
            if seating.subscriber.alive:
                assert isinstance(seating.subscriber.heard[-1], SubscriptionLost)
            assert seating.handle is not None
            assert seating.handle.last_error is report.error
        self.vacated(key, seating)

    def may_restart(self, filled: Filled, error: BaseException, what: Child | Key) -> bool:
        """Compare what the supervisor did with what the design says."""
        now = self.stage.clock.now
        if not filled.place.may_restart(error, now):
            return False
        newest = self.stage.newest(what)
        filled.puppet = newest if newest is not None and newest.alive else None
        filled.restarts_at = None if filled.puppet else self.stage.told_last_at()
        filled.place.check_delay((filled.restarts_at or now) - now, error, now)
        return True

    def everything_ended(self) -> None:
        """G24: nothing is half alive."""
        assert isinstance(self.parent.heard[-1], StoreFailed)
        assert len(self.parent.heard) == 1
        reason = self.parent.heard[-1].error
        assert isinstance(reason, NotRunningError)
        assert reason.__cause__ is self.failed
        assert self.living() == []
        tree = state_of(self.supervisor.actor_ref)
        assert tree is not None
        assert tree.phase is Phase.STOPPED
        assert tree.failure is reason
        assert tree.handles() == []
        known = len(self.stage.started)
        self.stage.pass_time(100.0)
        assert len(self.stage.started) == known

    # ── subscriptions ────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: not self.failed)
    @rule(name=names)
    def subscribe(self, name: str) -> None:
        key, subscriber = (ALL_STREAMS, name), Puppet("a subscriber")
        reply: pykka.ThreadingFuture[Subscription] = pykka.ThreadingFuture()
        seating = self.seats.get(key)
        self.say(Subscribe(*key, cast(Ref, subscriber), SubscriptionOptions(), reply))
        if seating is None:
            self.seated(key, subscriber, reply)
        elif seating.successor is not None:
            refused(reply)
        else:
            seating.successor = subscriber, reply
            if seating.leaving or not seating.subscriber.alive:
                self.dismissed(key, seating)
            elif seating.puppet is not None and seating.puppet.alive:
                assert seating.puppet.heard[-1] == SeatWanted()

    def asked(self) -> list[Puppet]:
        """Return the actors that were asked for their seat and did not answer; some are dead."""
        return [each for each in self.stage.started if SeatWanted() in each.heard]

    @precondition(lambda self: not self.failed and self.asked())
    @rule(which=numbers)
    def keep_a_seat(self, which: int) -> None:
        """G17: only now the name is known to be in use. An answer may come late."""
        asked = self.asked()
        puppet = asked[which % len(asked)]
        puppet.heard.remove(SeatWanted())
        self.say(SeatKept(puppet.actor_urn))
        seating = self.seats.get(cast(Key, puppet.what))
        if seating is None or seating.puppet is not puppet or seating.leaving:
            return
        if seating.successor is not None:
            refused(seating.successor[1])
            seating.successor = None

    @precondition(lambda self: not self.failed)
    @rule(name=names)
    def unsubscribe(self, name: str) -> None:
        key = (ALL_STREAMS, name)
        reply: pykka.ThreadingFuture[None] = pykka.ThreadingFuture()
        seating = self.seats.get(key)
        self.say(Unsubscribe(*key, reply))
        if seating is not None:
            self.dismissed(key, seating)
        elif key in self.given_up:
            reply.get(timeout=0)
            self.given_up.remove(key)
        else:
            with pytest.raises(SubscriptionNotFoundError):
                reply.get(timeout=0)

    def seated(
        self, key: Key, subscriber: Puppet, reply: pykka.ThreadingFuture[Subscription]
    ) -> None:
        handle = reply.get(timeout=0)
        newest = self.stage.newest(key)
        assert newest is self.stage.started[-1]
        assert newest.alive
        place = Place(self.limit, self.window)
        self.seats[key] = Seating(place, newest, subscriber=subscriber, handle=handle)
        self.given_up.discard(key)

    def dismissed(self, key: Key, seating: Seating) -> None:
        """At once if its actor waits for a restart, else when that has ended."""
        seating.leaving = True
        if seating.puppet is None:
            self.vacated(key, seating)

    def vacated(self, key: Key, seating: Seating) -> None:
        assert seating.handle is not None
        assert seating.handle.state is SubscriptionState.STOPPED
        del self.seats[key]
        if not seating.leaving:
            self.given_up.add(key)
        if seating.successor is not None:
            self.seated(key, *seating.successor)

    # ── what holds at every moment ───────────────────────────────────────────────────────────

    @invariant()
    def every_place_is_filled_once_or_will_be(self) -> None:
        """G24: one for one: nobody but who crashed is started again, and nobody twice."""
        if self.failed is not None:
            return
        assert self.parent.heard == []
        alive = [each.what for each in self.living()]
        assert len(alive) == len(set(alive))
        for what, place in self.all_places():
            if place.puppet is None:
                assert place.restarts_at is not None
                assert what not in alive
            else:
                assert place.puppet is self.stage.newest(what)

    @invariant()
    def it_says_whether_it_runs(self) -> None:
        """F15: and which subscriptions gave up, until unsubscribed or subscribed again."""
        if self.failed is not None:
            return
        health = self.supervisor._health()
        assert health.running is all(place.is_up for place in self.places.values())
        shown = {(s.stream_id, s.subscription_name): s for s in health.subscriptions}
        assert shown.keys() == self.seats.keys() | self.given_up
        for key in self.given_up:
            assert shown[key].state is SubscriptionState.STOPPED
            assert shown[key].last_error is not None


def refused(reply: pykka.ThreadingFuture[Subscription]) -> None:
    with pytest.raises(SubscriptionInUseError):
        reply.get(timeout=0)


def test_the_supervisor_restarts_and_gives_up_as_designed(monkeypatch: pytest.MonkeyPatch) -> None:
    """F12, G17, G24, G25: over any history of crashes, ends, subscribers and waits."""

    class Restarts(RestartMachine):
        stage = Stage(monkeypatch)

    histories = settings(max_examples=examples(25), stateful_step_count=40)
    run_state_machine_as_test(Restarts, settings=histories)
