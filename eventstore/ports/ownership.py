"""Who owns a subscription and how far it has come, as it crosses the storage port. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from eventstore.model.subscription import Start, SubscriptionState

__all__ = ["Claim", "Claimed", "Fence", "Held", "Kept", "LeaseMark", "Progress", "Standing"]


@dataclass(frozen=True, slots=True)
class Fence:
    """Who may checkpoint: all three must match the row."""

    position_id: int
    """The row that holds the checkpoint. Never used again, also not after a delete."""
    owner: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class LeaseMark:
    """A lease as a standby sees it: unchanged for the time of a lease, its owner is dead."""

    owner: UUID
    epoch: int
    renewed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A runtime's wish to own a subscription."""

    stream_id: str
    subscription_name: str
    start: Start
    """Where it starts if this claim creates it."""
    owner: UUID
    owner_name: str
    """Host and process, for people."""
    lease: float
    """Seconds until it ends unless it is renewed."""
    subscription_id: int | None = None
    """The subscription that is claimed. None: whichever has the name, created if there is none."""
    watched: LeaseMark | None = None
    """A mark that did not change for a lease by the claimant's own clock: its owner is dead."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The subscription is ours."""

    subscription_id: int
    fence: Fence
    checkpoint: int
    head: int
    """Newest position of what is subscribed to."""
    paused: bool
    created: bool
    """The subscription did not exist before, so its start was fixed by this claim."""


@dataclass(frozen=True, slots=True)
class Held:
    """The subscription belongs to somebody else, or a transaction has locked its row."""

    subscription_id: int
    position_id: int
    owner_name: str
    """Host and process of the owner, for people; empty if the row is only locked."""
    since: datetime | None
    """Since when it is owned; None if the row is only locked."""
    mark: LeaseMark | None
    """The lease of its owner; None if the row is only locked."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a runtime knows of a subscription it owns."""

    fence: Fence
    checkpoint: int
    """Everything up to it is acknowledged; stored if it is beyond the stored one."""
    state: SubscriptionState
    last_error: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What the row says after a renewal."""

    fence: Fence
    owned: bool
    """False: the fence no longer matches; somebody else took over, or the row is gone."""
    stored: bool
    """False: a transaction has locked the position, so the checkpoint has to be sent again."""
    checkpoint: int
    """The stored one; 0 if the row is gone."""
    paused: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What the row of a subscription says, read without locking or writing anything."""

    position_id: int
    paused: bool
    epoch: int
    mark: LeaseMark | None
    """The lease of its owner; None: it is free."""
    expired: bool
    """The lease ran out by the storage's clock."""
