"""The subscriptions of a store in memory: checkpoints, leases, fences. Pure: no lock, no clock.

The time is passed in as a `Moment`: the time of day, and a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from json import dumps
from time import monotonic
from typing import Any, NamedTuple, assert_never
from uuid import UUID

from eventstore.model.checks import check_within
from eventstore.model.errors import SubscriptionNotFoundError, SubscriptionOptionsError
from eventstore.model.subscription import SubscriptionState
from eventstore.model.subscription_start import Origin, Start
from eventstore.ports.effects import Batch, HandledBeforeError
from eventstore.ports.ownership import (
    Claim,
    Claimed,
    Fence,
    Held,
    Kept,
    LeaseMark,
    Progress,
    Standing,
    Tried,
)

__all__ = ["Moment", "Row", "SubscriptionTable"]


class Moment(NamedTuple):
    """The present time by both clocks."""

    time: datetime
    monotonic: float

    @classmethod
    def now(cls) -> Moment:
        return cls(datetime.now(UTC), monotonic())


@dataclass(slots=True)
class Ownership:
    """The owner of a row, and when its lease expires."""

    owner: UUID
    owner_name: str
    since: datetime
    renewed_at: datetime
    expires: float
    """By the monotonic clock."""

    def renew(self, moment: Moment, lease: float) -> None:
        self.renewed_at = moment.time
        self.expires = moment.monotonic + lease


@dataclass(slots=True)
class Row:
    """One named subscription."""

    subscription_id: int
    """Also the id of its one position."""
    stream_id: str
    subscription_name: str
    checkpoint: int
    created_at: datetime
    options: Mapping[str, Any] | None = None
    """What every claimant must agree on; None: it is what the next one says."""
    epoch: int = 0
    held: Ownership | None = None
    paused: bool = False
    state: SubscriptionState = SubscriptionState.WAITING
    last_error: str | None = None
    attempts: int = 0
    owner_died: bool = False
    """The owner before this one did not release it."""
    tried: Tried | None = None
    """After that: the event that was handed out alone."""

    def matches(self, fence: Fence) -> bool:
        return (
            self.held is not None and self.held.owner == fence.owner and self.epoch == fence.epoch
        )

    def holder(self, moment: Moment) -> Ownership | None:
        """Return the owner, if its lease has not expired."""
        held = self.held
        return held if held is not None and held.expires > moment.monotonic else None

    def take(self, owner: UUID, owner_name: str, moment: Moment, lease: float) -> None:
        """Make *owner* the owner. Fences the previous one."""
        if self.held is None or self.held.owner != owner:
            self.epoch += 1
            self.owner_died = self.held is not None
            self.held = Ownership(owner, owner_name, moment.time, moment.time, moment.monotonic)
        self.held.renew(moment, lease)

    def free(self) -> None:
        """End the ownership."""
        self.held = self.tried = None
        self.owner_died = False

    def mark(self, held: Ownership) -> LeaseMark:
        return LeaseMark(held.owner, self.epoch, held.renewed_at)


HeadOf = Callable[[str], int]
"""The newest position of a stream, or of the store for ``$all``."""


@dataclass(slots=True)
class SubscriptionTable:
    """Every subscription, by stream and name."""

    head_of: HeadOf
    _rows: dict[int, Row] = field(default_factory=dict)
    _ids: dict[tuple[str, str], int] = field(default_factory=dict)
    _unused_ids: count[int] = field(default_factory=lambda: count(1))

    def claim(self, claim: Claim, moment: Moment) -> Claimed | Held:
        """Take over a row if it is free. Create it if *claim* allows it."""
        key = (claim.stream_id, claim.subscription_name)
        created = claim.subscription_id is None and key not in self._ids
        if created:
            self._create(*key, claim.start, moment)
        row = self.row(*key)
        if claim.subscription_id not in {None, row.subscription_id}:
            raise SubscriptionNotFoundError(*key)
        if row.options is None:
            row.options = claim.options
        # As JSON: True is not 1.
        if dumps(row.options) != dumps(claim.options):
            raise SubscriptionOptionsError(*key, row.options, claim.options)
        held = row.holder(moment)
        if held is not None and held.owner != claim.owner and row.mark(held) != claim.watched:
            number, mark = row.subscription_id, row.mark(held)
            return Held(number, number, held.owner_name, held.since, mark)
        row.take(claim.owner, claim.owner_name, moment, claim.lease)
        fence = Fence(row.subscription_id, claim.owner, row.epoch)
        head = self.head_of(claim.stream_id)
        return Claimed(
            row.subscription_id,
            fence,
            row.checkpoint,
            head,
            paused=row.paused,
            created=created,
            owner_died=row.owner_died,
            tried=row.tried,
        )

    def keep(self, progress: Sequence[Progress], lease: float, moment: Moment) -> list[Kept]:
        """Renew leases and store their progress where the fence still matches."""
        for each in progress:
            if (row := self.owned(each.fence)) is not None:
                assert row.held is not None
                row.held.renew(moment, lease)
                self._store(row, each)
        return [self._kept(each) for each in progress]

    def _kept(self, progress: Progress) -> Kept:
        """Say what became of the row, of which an earlier fence may have asked, too."""
        fence = progress.fence
        row = self._rows.get(fence.position_id)
        if row is None:
            return Kept(fence, owned=False, stored=True, checkpoint=0, paused=False)
        owned = row.matches(fence) and row.checkpoint >= progress.least
        return Kept(fence, owned=owned, stored=True, checkpoint=row.checkpoint, paused=row.paused)

    def moving(self, batch: Batch) -> Callable[[], None]:
        """Return what stores the checkpoint of *batch*.

        Raises:
            HandledBeforeError: It belongs to another owner, was handled before, or is not there.
        """
        row = self.owned(batch.fence)
        if row is None or batch.last > self.head_of(row.stream_id):
            raise HandledBeforeError(None)
        if not batch.least <= row.checkpoint <= batch.after:
            raise HandledBeforeError(row.checkpoint)

        def move() -> None:
            row.checkpoint = batch.last

        return move

    def release(self, progress: Progress) -> bool:
        """Store the last progress and free the row. Return False if the fence does not match."""
        row = self.owned(progress.fence)
        if row is None:
            return False
        self._store(row, progress)
        row.free()
        return True

    def look(self, ids: Collection[int], moment: Moment) -> dict[int, Standing]:
        """Return the rows by id, without deleted ones."""
        rows = {key: self._rows[key] for key in ids if key in self._rows}
        return {key: _standing(row, moment) for key, row in rows.items()}

    def rows(self) -> list[Row]:
        """Return every row, by stream and name."""
        return [self._rows[self._ids[key]] for key in sorted(self._ids)]

    def row(self, stream_id: str, subscription_name: str) -> Row:
        try:
            return self._rows[self._ids[stream_id, subscription_name]]
        except KeyError:
            raise SubscriptionNotFoundError(stream_id, subscription_name) from None

    def owned(self, fence: Fence) -> Row | None:
        """Return the row that *fence* is the right to change; None if it does not match."""
        row = self._rows.get(fence.position_id)
        return row if row is not None and row.matches(fence) else None

    def set_paused(self, stream_id: str, subscription_name: str, *, paused: bool) -> int:
        """Pause or resume a subscription. Return its id."""
        row = self.row(stream_id, subscription_name)
        row.paused = paused
        return row.subscription_id

    def reset(self, stream_id: str, subscription_name: str, position: int) -> int:
        """Set the checkpoint and fence the owner. Return the subscription's id."""
        row = self.row(stream_id, subscription_name)
        row.checkpoint = check_within("position", position, stream_id, self.head_of(stream_id))
        row.options = None
        row.epoch += 1
        row.free()
        row.last_error = None
        row.attempts = 0
        return row.subscription_id

    def start_over(self, stream_id: str) -> list[int]:
        """Reset the subscriptions to a stream that is gone, and fence their owners.

        Returns:
            Their ids.
        """
        rows = [row for row in self._rows.values() if row.stream_id == stream_id]
        for row in rows:
            row.checkpoint = 0
            row.epoch += 1
            row.free()
        return [row.subscription_id for row in rows]

    def delete(self, stream_id: str, subscription_name: str) -> int:
        """Delete a row. Return the subscription's id."""
        row = self.row(stream_id, subscription_name)
        del self._ids[stream_id, subscription_name], self._rows[row.subscription_id]
        return row.subscription_id

    def _create(self, stream_id: str, subscription_name: str, start: Start, moment: Moment) -> None:
        row = Row(
            next(self._unused_ids),
            stream_id,
            subscription_name,
            self._started(stream_id, start),
            created_at=moment.time,
        )
        self._rows[row.subscription_id] = row
        self._ids[stream_id, subscription_name] = row.subscription_id

    def _started(self, stream_id: str, start: Start) -> int:
        match start:
            case Origin.ORIGIN:
                return 0
            case Origin.CURRENT:
                return self.head_of(stream_id)
            case int():
                return check_within("start_from", start, stream_id, self.head_of(stream_id))
            case _:
                assert_never(start)

    def _store(self, row: Row, progress: Progress) -> None:
        head = self.head_of(row.stream_id)
        if progress.least <= row.checkpoint < progress.checkpoint <= head:
            row.checkpoint = progress.checkpoint
        row.state = progress.state
        row.last_error = progress.last_error
        row.attempts = progress.attempts


def _standing(row: Row, moment: Moment) -> Standing:
    mark = None if row.held is None else row.mark(row.held)
    expired = row.holder(moment) is None
    return Standing(row.subscription_id, row.paused, row.epoch, mark, expired)
