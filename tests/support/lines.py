"""Links between runtimes and one storage, which may be cut, slow, or lose answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.ports.ownership import (
    Claim,
    Claimed,
    Fence,
    Held,
    Kept,
    LeaseMark,
    Progress,
    Standing,
)
from eventstore.ports.parking import ParkedKey
from eventstore.ports.storage import KeeperSession
from eventstore.ports.stored_events import StoredEvent
from tests.support.clocks import Clock, TimedStore, Watch
from tests.support.lease_judge import LeaseJudge
from tests.support.rooms import soon

__all__ = ["Line", "Reach", "World"]

Answer = TypeVar("Answer")


@dataclass
class World:
    """The parts that all runtimes share: a storage with its clock, and a judge."""

    config: Config
    store: TimedStore
    keeper: KeeperSession
    watch: Watch
    judge: LeaseJudge
    key: tuple[str, str]
    clocks: list[Clock] = field(default_factory=list)

    def pass_time(self, seconds: float) -> None:
        """Advance every clock by the same time."""
        for clock in self.clocks:
            clock.now += seconds
        self.jump_storage(seconds)

    def jump_storage(self, seconds: float) -> None:
        if seconds:
            self.judge.now += seconds
            self.store.set_clock(self.judge.now)


class Reach(Enum):
    """State of the link between a runtime and the storage."""

    UP = "up"
    CUT = "cut"
    MUTE = "mute"
    """The storage handles the request, and its answer is lost."""


class Line:
    """The link of one runtime to the storage, as `Storage` and as `KeeperSession`.

    The judge checks every answer.
    """

    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self._storage = world.store.storage
        self._clock = clock
        self.reach = Reach.UP
        self.trip = 0.0
        """Seconds that the next request takes to arrive, and its answer to return."""
        self.good_until: dict[Fence, float] = {}
        """End of the lease per fence, counted from when the last good request was sent."""
        self.claim_answered: Claimed | None = None
        self.lost: Fence | None = None
        """The fence that an answer last called lost."""
        self._seen: LeaseMark | None = None
        self._seen_at = 0.0

    def _ask(self, question: Callable[[float], Answer], hear: Callable[[Answer], None]) -> Answer:
        """Send a request; *hear* judges the answer when it is given. Deadlines are in real time."""
        if self.reach is Reach.CUT:
            raise StorageUnavailableError("cut off")
        trip, self.trip = self.trip, 0.0
        self._world.pass_time(trip)
        answer = question(soon())
        hear(answer)
        self._world.pass_time(trip)
        if self.reach is Reach.MUTE:
            raise StorageUnavailableError("the answer was lost")
        return answer

    # ── Storage ──────────────────────────────────────────────────────────────────────────────

    def claim(self, claim: Claim, deadline: float) -> Claimed | Held:
        sent_at, watched = self._clock.now, claim.watched
        waited = sent_at - self._seen_at if watched == self._seen else 0.0
        answer = self._ask(
            lambda until: self._storage.claim(claim, until),
            lambda answer: self._world.judge.claimed(claim.owner, watched, waited, answer),
        )
        if isinstance(answer, Claimed):
            self.claim_answered = answer
            self._renewed(answer.fence, sent_at)
        elif answer.mark != self._seen:
            self._seen, self._seen_at = answer.mark, self._clock.now
        return answer

    def read_after(
        self, stream_id: str, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        return self._ask(
            lambda until: self._storage.read_after(stream_id, after, count, max_bytes, until), _no
        )

    def end_after(self, stream_id: str, after: int, deadline: float) -> int:
        return self._ask(lambda until: self._storage.end_after(stream_id, after, until), _no)

    def history_holds(self, global_position: int, event_id: Any, deadline: float) -> bool:
        return self._ask(
            lambda until: self._storage.history_holds(global_position, event_id, until), _no
        )

    def parked_keys(self, subscription_id: int, deadline: float) -> list[ParkedKey]:
        return self._ask(lambda until: self._storage.parked_keys(subscription_id, until), _no)

    def keeper_session(self) -> Line:
        return self

    # ── KeeperSession ────────────────────────────────────────────────────────────────────────

    def keep(self, progress: Sequence[Progress], lease: float, deadline: float) -> list[Kept]:
        def hear(answers: list[Kept]) -> None:
            self._world.judge.kept(progress, answers)

        sent_at = self._clock.now
        answers = self._ask(lambda until: self._world.keeper.keep(progress, lease, until), hear)
        for answer in answers:
            if answer.owned:
                self._renewed(answer.fence, sent_at)
            else:
                self.lost = answer.fence
        return answers

    def release(self, progress: Sequence[Progress], deadline: float) -> Collection[Fence]:
        def hear(locked: Collection[Fence]) -> None:
            for asked in progress:
                if asked.fence not in locked:
                    self._world.judge.released(asked)

        return self._ask(lambda until: self._world.keeper.release(progress, until), hear)

    def look(self, position_ids: Sequence[int], deadline: float) -> dict[int, Standing]:
        seen = self._ask(lambda until: self._world.keeper.look(position_ids, until), _no)
        for standing in seen.values():
            if standing.mark is not None and standing.mark != self._seen:
                self._seen, self._seen_at = standing.mark, self._clock.now
        return seen

    def close(self) -> None:
        """Do nothing: the test owns the session, which all runtimes share."""

    def _renewed(self, fence: Fence, sent_at: float) -> None:
        until = sent_at + self._world.config.lease
        self.good_until[fence] = max(until, self.good_until.get(fence, until))


def _no(_: object) -> None:
    """Judge nothing."""
