"""The messages that the actors of a store send each other; the public ones are elsewhere.

A subscriber's are in `eventstore.model.subscriber_messages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pykka
from pykka import ActorRef

from eventstore.model.errors import EventStoreError
from eventstore.model.subscription import Subscription, SubscriptionOptions
from eventstore.ports.ownership import Kept, Progress, Standing
from eventstore.ports.runtime import Health
from eventstore.ports.storage import Heard
from eventstore.ports.stored_events import StoredEvent

Ref = ActorRef[Any]


# ── appending ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Flush:
    """From the writer or the keeper to itself: everything sent before this was received; write."""


# ── new events ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class EventsCommitted:
    """From the writer to the publisher: these are durable now, in order, without a hole."""

    events: tuple[StoredEvent, ...]
    """Read from ``$all``: their position is their global position."""


@dataclass(frozen=True, slots=True)
class HeadHeard:
    """From the listener's thread to the publisher: what woke it, and the events it read.

    *events* is the start of what was committed after the head that the listener heard before.
    """

    heard: Heard
    events: tuple[StoredEvent, ...]


@dataclass(frozen=True, slots=True)
class ListenerDeaf:
    """From the listener's thread to the publisher: the database is away."""

    error: EventStoreError


@dataclass(frozen=True, slots=True)
class ListenerFailed:
    """From the listener's or the announcer's thread to the publisher, at its end: it crashed."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Announce:
    """From the publisher to itself: everything told before this is in its memory; tell it."""


@dataclass(frozen=True, slots=True)
class Watch:
    """From a subscription to the publisher: announce what is new in this stream to me."""

    stream_id: str
    subscription: Ref


@dataclass(frozen=True, slots=True)
class Unwatch:
    """From a subscription, or from the supervisor for a dead one, to the publisher."""

    stream_id: str
    subscription: Ref


@dataclass(frozen=True, slots=True)
class HeadMoved:
    """From the publisher to a subscription: there may be events up to *position*.

    In positions of what is subscribed to. None: look into the storage, how far is not known.
    """

    position: int | None


@dataclass(frozen=True, slots=True)
class Forget:
    """From the publisher to the subscriptions: events were deleted; read anew what is not sent."""


@dataclass(frozen=True, slots=True)
class Touched:
    """From the publisher to the keeper: these subscriptions were changed somewhere; look again."""

    subscription_ids: frozenset[int]


# ── ownership and checkpoints ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Keep:
    """From a subscription to the keeper: renew this from now on, and store this progress.

    The newest progress of a fence replaces the one before. *urgent*: do not coalesce.
    """

    subscription_id: int
    progress: Progress
    subscription: Ref
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """From a subscription to the keeper: store this last progress and give up the ownership.

    The keeper answers *done* with True when it is written, or with False when it could not be;
    then the lease runs out by itself.
    """

    subscription_id: int
    progress: Progress
    done: pykka.ThreadingFuture[bool]


@dataclass(frozen=True, slots=True)
class Renewed:
    """From the keeper to a subscription: what its row says, and until when the lease is good."""

    kept: Kept
    good_until: float
    """Moment of `time.monotonic`: the lease after the renewal was *sent*."""
    asked_at: float
    """When the row was asked: whether it was paused after that is not known from it."""


@dataclass(frozen=True, slots=True)
class StandBy:
    """From a subscription to the keeper: look at its row, which somebody else owns."""

    subscription_id: int
    position_id: int
    subscription: Ref


@dataclass(frozen=True, slots=True)
class Seen:
    """From the keeper to a standby: what its row says; None: the subscription was deleted."""

    standing: Standing | None


@dataclass(frozen=True, slots=True)
class Tick:
    """From an actor's timer to itself: time passed."""


# ── subscribing ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Subscribe:
    """From a caller's thread to the supervisor: start a subscription; answer in *reply*.

    The reply is the `Subscription` handle once it is owned or waits as a standby, or an exception.
    """

    stream_id: str
    subscription_name: str
    subscriber: Any
    """A pykka reference, or a callable."""
    options: SubscriptionOptions
    reply: pykka.ThreadingFuture[Subscription]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """From a caller's thread to the supervisor: stop a subscription; None in *reply* when done."""

    stream_id: str
    subscription_name: str
    reply: pykka.ThreadingFuture[None]


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """From a handle to its subscription: everything up to *position* of this run is done.

    What is acknowledged until it is read is told of by the same message; see
    `eventstore_actors.state.subscription_handle`.
    """

    run: int
    position: int


@dataclass(frozen=True, slots=True)
class SetPaused:
    """From a handle to its subscription; answered in *reply* when it took effect."""

    paused: bool
    reply: pykka.ThreadingFuture[None]


@dataclass(frozen=True, slots=True)
class Continue:
    """From a subscription to itself: read and send on, after what else it was told."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """From a subscription to its callable subscriber: there are batches in the mailbox."""


@dataclass(frozen=True, slots=True)
class SubscriberEnded:
    """From a callable subscriber to its subscription, in its last moment."""


@dataclass(frozen=True, slots=True)
class HandlerFailed:
    """From a callable subscriber to its subscription: the handler raised, or returned something."""

    run: int
    error: BaseException


# ── living ───────────────────────────────────────────────────────────────────────────────────


class Child(StrEnum):
    """The permanent children of the supervisor."""

    WRITER = "writer"
    PUBLISHER = "publisher"
    KEEPER = "keeper"


@dataclass(frozen=True, slots=True)
class ChildUp:
    """From a child to its supervisor: it works."""

    urn: str


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """From a child to its supervisor, in its last moment: it crashed with *error*."""

    urn: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class ChildStopped:
    """From a child to its supervisor: it came to its end in an orderly way."""

    urn: str
    error: BaseException | None = None
    """Why, if nobody asked it to."""


@dataclass(frozen=True, slots=True)
class ChildRestarted:
    """From the supervisor to the subscriptions: this child is new and knows nothing of you.

    Of the publisher: `Watch` again. Of the keeper: `Keep` again.
    """

    child: Child


@dataclass(frozen=True, slots=True)
class HistoryRewound:
    """From the publisher or a subscription to the supervisor: stop everything."""

    error: EventStoreError


@dataclass(frozen=True, slots=True)
class Stop:
    """From the supervisor to a child, or a caller to the supervisor: end orderly until *deadline*.

    Answered in *reply* when it has ended.
    """

    deadline: float
    reply: pykka.ThreadingFuture[None]
    reason: BaseException | None = None
    """Why, if nobody asked for it: the store failed."""


@dataclass(frozen=True, slots=True)
class AskHealth:
    """From a caller's thread to the supervisor."""

    reply: pykka.ThreadingFuture[Health]
