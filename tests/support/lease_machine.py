"""A state machine that tests the lease protocol: rules, invariants, liveness."""

from __future__ import annotations

from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from eventstore.model.config import Config
from eventstore.model.names import ALL_STREAMS
from eventstore.ports.storage import AppendSession, KeeperSession
from eventstore_actors.kernel.messages import HeadMoved
from tests.support.clocks import NOON, Clock, TimedStore, Watch
from tests.support.lease_judge import LeaseJudge
from tests.support.lines import Reach, World
from tests.support.rooms import one, several, soon
from tests.support.stepped import SteppedRuntime

__all__ = ["LEASE", "POLL", "LeaseMachine"]

LEASE = 2.0
POLL = 0.5

runtimes = st.integers(0, 2)
numbers = st.integers(0, 1_000)
moments = st.sampled_from([0.125, 0.5, 1.0, LEASE, 3 * LEASE])


class LeaseMachine(RuleBasedStateMachine):
    """G14, G15, G16, G27: over any history of owners, clocks and operators."""

    config: Config
    store: TimedStore
    keeper: KeeperSession
    appender: AppendSession
    watch: Watch

    @initialize(whole=st.booleans(), clocks_jump=st.booleans())
    def begin(self, *, whole: bool, clocks_jump: bool) -> None:
        self.clocks_jump = clocks_jump
        self.fenced_from_outside = False
        self.stream_id = f"order-{uuid4().hex}"
        key = (ALL_STREAMS if whole else self.stream_id, f"s-{uuid4().hex}")
        self.head = 0
        if whole:
            self.head = self.store.storage.stream_info(ALL_STREAMS, soon()).stream_version
        judge = LeaseJudge(LEASE, self.head, self.head, NOON)
        self.store.set_clock(NOON)
        self.world = World(self.config, self.store, self.keeper, self.watch, judge, key)
        self.world.clocks = [Clock(1_000.0 * (number + 1)) for number in range(3)]
        self.running: dict[int, SteppedRuntime] = {}
        self.append(2, set())

    # ── runtimes ─────────────────────────────────────────────────────────────────────────────

    def some(self, which: int) -> SteppedRuntime:
        """Return a runtime; start it if it does not run."""
        if which not in self.running:
            self.running[which] = SteppedRuntime(self.world, self.world.clocks[which])
        return self.running[which]

    @rule(which=runtimes)
    def turn(self, which: int) -> None:
        self.some(which).turn()
        self.forget_if_ended(which)

    def forget_if_ended(self, which: int) -> None:
        """Drop a runtime that ended because its subscription was deleted."""
        if self.running[which].has_ended:
            del self.running[which]

    @rule(which=runtimes, keeper=st.booleans())
    def handle_one_message(self, which: int, *, keeper: bool) -> None:
        runtime = self.some(which)
        runtime.step(runtime.keeper if keeper else runtime.subscription)
        self.forget_if_ended(which)

    @rule(which=runtimes, newest=st.booleans(), number=numbers)
    def acknowledge(self, which: int, number: int, *, newest: bool) -> None:
        runtime = self.some(which)
        if runtime.delivered:
            at = -1 if newest else number % len(runtime.delivered)
            runtime.acknowledge(runtime.delivered[at])

    @rule(which=runtimes)
    def work(self, which: int) -> None:
        """Let a runtime work for a while without a fault."""
        runtime = self.some(which)
        for _ in range(3):
            runtime.turn()
            if runtime.delivered:
                runtime.acknowledge(runtime.delivered[-1])
            self.world.pass_time(POLL / 2)
        self.turn(which)

    @rule(which=runtimes)
    def stop(self, which: int) -> None:
        """G27: a released subscription is free at once, by any clock."""
        runtime = self.some(which)
        reached = runtime.line.reach is Reach.UP
        owned = runtime.run is not None and runtime.run.fence == self.world.judge.fence
        runtime.stop()
        del self.running[which]
        assert not (owned and reached and self.world.judge.fence)

    @rule(which=runtimes)
    def kill(self, which: int) -> None:
        self.running.pop(which, None)

    @rule(which=runtimes)
    def crash_keeper(self, which: int) -> None:
        self.some(which).crash_keeper()

    @rule(which=runtimes)
    def crash_subscription(self, which: int) -> None:
        """Crash after an acknowledgement, which the keeper stores after the next run has begun."""
        self.turn(which)
        runtime = self.some(which)
        if runtime.delivered:
            runtime.acknowledge(runtime.delivered[-1])
        for _ in range(2):
            self.world.pass_time(POLL / 2)
            while runtime.step(runtime.subscription):
                pass
        self.forget_if_ended(which)
        self.some(which).crash_subscription()
        self.forget_if_ended(which)

    @rule(which=runtimes, reach=st.sampled_from(Reach))
    def reach(self, which: int, reach: Reach) -> None:
        self.some(which).line.reach = reach

    @rule(which=runtimes, seconds=st.sampled_from([0.125, 1.0, LEASE]))
    def delay_the_next_question(self, which: int, seconds: float) -> None:
        self.some(which).line.trip = seconds

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    @rule(seconds=moments)
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @precondition(lambda self: self.clocks_jump)
    @rule(which=runtimes, seconds=moments)
    def jump(self, which: int, seconds: float) -> None:
        self.world.clocks[which].now += seconds

    @precondition(lambda self: self.clocks_jump)
    @rule(seconds=moments | st.sampled_from([-0.125, -0.5, -LEASE, -3600.0, 3600.0]))
    def jump_storage(self, seconds: float) -> None:
        self.world.jump_storage(seconds)

    # ── events and operators ─────────────────────────────────────────────────────────────────

    @rule(count=st.integers(1, 3), heard=st.sets(runtimes))
    def append(self, count: int, heard: set[int]) -> None:
        self.appender.append([one(self.stream_id, -1, *several(count))], soon())
        self.world.judge.head += count
        for which in heard & self.running.keys():
            self.running[which].hear(HeadMoved(self.world.judge.head))

    @precondition(lambda self: self.world.judge.row)
    @rule(paused=st.booleans(), heard=st.sets(runtimes))
    def pause(self, heard: set[int], *, paused: bool) -> None:
        self.store.storage.set_paused(*self.world.key, paused=paused, deadline=soon())
        self.world.judge.was_paused(paused=paused)
        self.touch(heard)

    @precondition(lambda self: self.world.judge.row)
    @rule(number=numbers, heard=st.sets(runtimes), crashes=st.booleans())
    def reset(self, number: int, heard: set[int], *, crashes: bool) -> None:
        """Reset to any position; the owner may crash before it knows, and claim with its old id."""
        judge = self.world.judge
        position = judge.start + number % (judge.head - judge.start + 1)
        self.store.storage.reset_subscription(*self.world.key, position, soon())
        judge.was_reset(position)
        self.fenced_from_outside = True
        self.touch(heard)
        for which in list(self.running) if crashes else ():
            self.running[which].crash_subscription()
            self.forget_if_ended(which)

    @precondition(lambda self: self.world.judge.row)
    @rule(heard=st.sets(runtimes))
    def delete(self, heard: set[int]) -> None:
        self.store.storage.delete_subscription(*self.world.key, soon())
        self.world.judge.was_deleted()
        self.fenced_from_outside = True
        self.touch(heard)

    def touch(self, heard: set[int]) -> None:
        for which in heard & self.running.keys():
            self.running[which].touch()

    # ── invariants ───────────────────────────────────────────────────────────────────────────

    @invariant()
    def the_row_is_what_the_one_owner_and_the_operators_made_it(self) -> None:
        """G15, G16: only the owner's progress counts, and the checkpoint never goes back."""
        self.world.judge.inspect(self.store.row(*self.world.key))

    @invariant()
    def no_two_believe_in_the_same_fence(self) -> None:
        """G16: of all runtimes that believe to own it, at most one has the fence that counts."""
        fences = [r.run.fence for r in self.running.values() if r.run is not None]
        assert len(fences) == len(set(fences))

    @invariant()
    def two_deliver_at_once_only_if_clocks_jumped(self) -> None:
        """G16: if all clocks run at the same rate, a lease ends before the next begins."""
        if not self.clocks_jump and not self.fenced_from_outside:
            assert sum(runtime.believes for runtime in self.running.values()) <= 1

    # ── liveness ─────────────────────────────────────────────────────────────────────────────

    @rule()
    def go_on_in_peace(self) -> None:
        """G16: while all clocks run alike and answers arrive, the owner stays the owner."""
        for runtime in self.running.values():
            runtime.line.reach, runtime.line.trip = Reach.UP, 0.0
        self.let_all_turn(times=3)
        owner, fence = self.owner(), self.world.judge.fence
        self.let_all_turn(times=10)
        assert owner is None or self.world.judge.fence == fence

    def let_all_turn(self, times: int) -> None:
        for _ in range(times):
            self.world.pass_time(POLL / 2)
            for which in list(self.running):
                self.turn(which)

    @rule(behind=st.sampled_from([0.0, 3600.0]), finishes=st.booleans(), stops=st.booleans())
    def take_over(self, behind: float, *, finishes: bool, stops: bool) -> None:
        """G13, G27: a standby takes over in time from a frozen owner, while the clocks run alike.

        This holds however far the storage's clock was set back since the lease was granted. Then
        the frozen owners wake up; some are stopped.
        """
        frozen = {which: each for which, each in self.running.items() if each.run is not None}
        if len(frozen) == len(self.world.clocks):
            frozen.popitem()
        standby = next(which for which in range(len(self.world.clocks)) if which not in frozen)
        self.running = {which: self.running[which] for which in self.running.keys() - frozen.keys()}
        for runtime in self.running.values():
            runtime.line.reach, runtime.line.trip = Reach.UP, 0.0
        if self.clocks_jump:
            self.world.jump_storage(-behind)
        self.await_takeover(standby)
        if finishes:
            self.finish()
        self.running |= frozen
        for which in frozen if stops else ():
            self.stop(which)

    def await_takeover(self, standby: int) -> None:
        began = self.world.judge.now
        self.some(standby)
        while self.owner() is None:
            assert self.world.judge.now - began <= LEASE + 2 * POLL, "no standby took over"
            self.let_all_turn(times=1)
            self.some(standby)

    def finish(self) -> None:
        """G13: every stored event is delivered, acknowledged and counted."""
        owner, judge = self.owner(), self.world.judge
        assert owner is not None
        assert judge.row is not None
        self.append(1, set(self.running))
        if judge.row.paused:
            self.pause(set(self.running), paused=False)
        for _ in range(4 * (judge.head - judge.start) + 4):
            owner.turn()
            if owner.delivered:
                owner.acknowledge(owner.delivered[-1])
            self.world.pass_time(POLL / 2)
        assert judge.row.checkpoint == judge.head

    def owner(self) -> SteppedRuntime | None:
        fence = self.world.judge.fence
        owners = (each for each in self.running.values() if each.run and each.run.fence == fence)
        return next(owners, None)
