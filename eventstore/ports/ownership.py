"""Values of the storage port for the owner and the progress of a subscription. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from eventstore.model.subscription import SubscriptionState
from eventstore.model.subscription_start import Start

__all__ = [
    "Claim",
    "Claimed",
    "Fence",
    "Held",
    "Kept",
    "LeaseMark",
    "Progress",
    "Standing",
    "StoredProgress",
    "Tried",
]


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to store a checkpoint: all three values must match the row."""

    position_id: int
    """The row that holds the checkpoint. Ids are never reused, not even after a delete."""
    owner: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class LeaseMark:
    """A lease as a standby sees it. If it does not change for a whole lease, its owner is dead."""

    owner: UUID
    epoch: int
    renewed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request of a runtime to own a subscription."""

    stream_id: str
    subscription_name: str
    start: Start
    """Where the subscription starts if this claim creates it."""
    owner: UUID
    owner_name: str
    """Host and process, for people."""
    lease: float
    """Seconds until the ownership expires unless it is renewed."""
    subscription_id: int | None = None
    """The subscription to claim. None: the one with that name, created if it is missing."""
    watched: LeaseMark | None = None
    """A mark that did not change for a whole lease by the claimant's clock: its owner is dead."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What must be stored of the subscription, as JSON; stored if this claim creates it."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An event that is handed out alone, because an owner died that may have died of it."""

    position: int
    tries: int
    """How often it was handed out alone, or has failed alone."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The claim succeeded."""

    subscription_id: int
    fence: Fence
    checkpoint: int
    head: int
    """Newest position of the stream, or of the store for ``$all``."""
    paused: bool
    created: bool
    """This claim created the subscription, at its `Claim.start`."""
    owner_died: bool = False
    """The owner before did not release it: it died, or it was away for a whole lease."""
    tried: Tried | None = None
    """The event that it had handed out alone, if any."""


@dataclass(frozen=True, slots=True)
class Held:
    """The claim failed: another owner has it, or a transaction has locked its row."""

    subscription_id: int
    position_id: int
    owner_name: str
    """Host and process of the owner, for people; empty if the row is only locked."""
    since: datetime | None
    """Time of the takeover by its owner; None if the row is only locked."""
    mark: LeaseMark | None
    """The lease of its owner; None if the row is only locked."""
    clock_set_back: bool = False
    """The lease was renewed at a time yet to come: the storage's clock was set back since.

    So nobody knows whether the owner lives, until the mark changes or has not for a whole lease.
    """


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of an owned subscription, as its runtime stores it."""

    fence: Fence
    checkpoint: int
    """Every event up to it is acknowledged. Stored if it is beyond the stored checkpoint."""
    state: SubscriptionState
    last_error: str | None
    attempts: int
    least: int = 0
    """What transactions of the handler have stored. A lower checkpoint was set back with them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The row of a subscription after a renewal."""

    fence: Fence
    owned: bool
    """False: by a takeover, a reset or a delete, or the checkpoint is below `Progress.least`."""
    stored: bool
    """False: a transaction has locked the position; send the checkpoint again."""
    checkpoint: int
    """The stored checkpoint; 0 if the row is gone."""
    paused: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """The row of a subscription, read without locking or writing anything."""

    position_id: int
    paused: bool
    epoch: int
    mark: LeaseMark | None
    """The lease of its owner; None: the subscription is free."""
    expired: bool
    """The lease expired by the storage's clock."""


@dataclass(frozen=True, slots=True)
class StoredProgress:
    """How far a subscription is, as it is stored: what somebody needs who waits for it."""

    subscription_id: int
    """Ids are never reused, not even after a delete."""
    epoch: int
    """Another one after every takeover and every reset."""
    checkpoint: int
    has_parked: bool
    state: SubscriptionState
    last_error: str | None
