"""A model of the lease protocol, which judges each answer of a storage.

Pure: it knows neither a storage nor a runtime. It is given each request, its answer and the times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from eventstore.ports.ownership import Claimed, Fence, Held, Kept, LeaseMark, Progress
from tests.support.clocks import StoredRow

__all__ = ["LeaseJudge"]


@dataclass(slots=True)
class _Row:
    """The row of the one subscription that all runtimes want to own."""

    position_id: int
    checkpoint: int
    paused: bool = False
    epoch: int = 0
    owner: UUID | None = None
    renewed: float | None = None
    expires: float | None = None

    def is_free_for(self, owner: UUID, now: float) -> bool:
        return self.owner in {None, owner} or self.expires is None or self.expires <= now

    def renew(self, now: float, lease: float) -> None:
        self.renewed, self.expires = now, now + lease

    def end_ownership(self) -> None:
        self.owner = self.renewed = self.expires = None

    @property
    def mark(self) -> LeaseMark | None:
        if self.owner is None or self.renewed is None:
            return None
        return LeaseMark(self.owner, self.epoch, datetime.fromtimestamp(self.renewed, UTC))


@dataclass
class LeaseJudge:
    """Follows the row through every change; raises `AssertionError` on a wrong answer.

    G15, G16: only the newest fence counts. Its checkpoint never goes back, and never beyond what
    its subscriber acknowledged. A claim is granted if and only if the row is free, or its lease
    has expired by the storage's clock, or the claimant saw its mark unchanged for the length of a
    lease by its own clock.
    """

    lease: float
    start: int
    head: int
    now: float
    """The storage's clock."""
    row: _Row | None = None
    _newest_id: int = 0
    _granted: set[Fence] = field(default_factory=set)
    _acknowledged: dict[Fence, int] = field(default_factory=dict)

    @property
    def fence(self) -> Fence | None:
        """The only fence that counts."""
        row = self.row
        if row is None or row.owner is None:
            return None
        return Fence(row.position_id, row.owner, row.epoch)

    # ── requests of runtimes ─────────────────────────────────────────────────────────────────

    def claimed(
        self, owner: UUID, watched: LeaseMark | None, waited: float, answer: Claimed | Held
    ) -> None:
        """Judge a claim; *waited*: seconds for which *watched* was unchanged, by its own clock."""
        row = self.row
        is_free = row is None or row.is_free_for(owner, self.now)
        is_dead = row is not None and watched is not None and watched == row.mark
        if isinstance(answer, Held):
            assert not is_free, "refused though nobody holds it"
            assert not is_dead, "refused though its owner is dead"
            assert row is not None
            assert answer.mark == row.mark
        else:
            assert is_free or (is_dead and waited >= self.lease), "taken from a live owner"
            self._granted_now(owner, answer)

    def _granted_now(self, owner: UUID, answer: Claimed) -> None:
        assert answer.created is (self.row is None)
        if self.row is None:
            assert answer.fence.position_id > self._newest_id, "an id was used again"
            self._newest_id = answer.fence.position_id
            self.row = _Row(self._newest_id, self.start)
        before = self.fence
        if self.row.owner != owner:
            self.row.owner = owner
            self.row.epoch += 1
        self.row.renew(self.now, self.lease)
        assert answer.fence == self.fence
        assert answer.fence == before or answer.fence not in self._granted, "granted twice"
        assert (answer.checkpoint, answer.paused) == (self.row.checkpoint, self.row.paused)
        assert answer.head == self.head
        self._granted.add(answer.fence)
        self._acknowledged.setdefault(answer.fence, answer.checkpoint)

    def kept(self, progress: Sequence[Progress], answers: Sequence[Kept]) -> None:
        """Judge a renewal: its answers say what the row is after all that it stored.

        Of a runtime that claimed again before it heard of its loss it has two fences of one row.
        """
        for asked in progress:
            if asked.fence == self.fence:
                self._store(asked)
                assert self.row is not None
                self.row.renew(self.now, self.lease)
        for asked, answer in zip(progress, answers, strict=True):
            owned = asked.fence == self.fence
            assert answer.owned is owned, "an owner who lost is told at its next renewal"
            row = self.row
            same_row = row is not None and row.position_id == asked.fence.position_id
            stored = (row.checkpoint, row.paused) if row and same_row else (0, False)
            assert (answer.checkpoint, answer.paused) == stored

    def released(self, asked: Progress) -> None:
        if asked.fence == self.fence:
            self._store(asked)
            assert self.row is not None
            self.row.end_ownership()

    def acknowledged(self, fence: Fence, position: int) -> None:
        """Note an acknowledgement to the runtime that holds *fence*."""
        self._acknowledged[fence] = max(self._acknowledged[fence], position)

    def _store(self, asked: Progress) -> None:
        assert self.row is not None
        assert asked.checkpoint <= self._acknowledged[asked.fence], "nobody acknowledged that"
        self.row.checkpoint = max(self.row.checkpoint, asked.checkpoint)

    # ── actions of operators ─────────────────────────────────────────────────────────────────

    def was_paused(self, *, paused: bool) -> None:
        assert self.row is not None
        self.row.paused = paused

    def was_reset(self, position: int) -> None:
        assert self.row is not None
        self.row.end_ownership()
        self.row.checkpoint = position
        self.row.epoch += 1

    def was_deleted(self) -> None:
        self.row = None

    def inspect(self, stored: StoredRow | None) -> None:
        """Compare the model with the stored row."""
        row = self.row
        wanted = row and StoredRow(
            row.position_id,
            row.checkpoint,
            row.paused,
            row.epoch,
            row.owner,
            row.renewed,
            row.expires,
        )
        assert stored == wanted
