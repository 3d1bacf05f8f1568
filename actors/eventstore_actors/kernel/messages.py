"""Messages between the actors of a store.

Messages to subscribers are public and lie in `eventstore.model.subscriber_messages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import pykka
from pykka import ActorRef

from eventstore.model.answers import Answer
from eventstore.model.caught_error import CaughtError
from eventstore.model.errors import EventStoreError
from eventstore.model.subscription import Subscription, SubscriptionOptions
from eventstore.ports.listening import Heard
from eventstore.ports.ownership import Kept, Progress, Standing
from eventstore.ports.runtime import Health
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.kernel.pulse import Pulse

Ref = ActorRef[Any]


class Addressee(Protocol):
    """What can be told something: an actor's reference, or what behaves like one."""

    actor_urn: str

    def tell(self, message: Any) -> None:
        """Deliver *message*.

        Raises:
            pykka.ActorDeadError: It is dead.
        """


# ── appending ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Flush:
    """From the writer or the keeper to itself: everything sent before this was received."""


# ── new events ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class EventsCommitted:
    """From the writer to the publisher: new durable events, in order and without a gap."""

    events: tuple[StoredEvent, ...]
    """Positions as in ``$all``: each event's `position` is its global position."""


@dataclass(frozen=True, slots=True)
class LookForEvents:
    """From the announcer's thread, or a caller, to the publisher: a caller may have committed."""


@dataclass(frozen=True, slots=True)
class HeadHeard:
    """From the listener's thread to the publisher: the new head, and events up to it."""

    heard: Heard
    events: tuple[StoredEvent, ...]
    """The first events after the previously read head; there may be more in the storage."""


@dataclass(frozen=True, slots=True)
class EventsDeleted:
    """From a caller to the publisher: it deleted events; forget those in memory."""

    done: pykka.ThreadingFuture[None]


@dataclass(frozen=True, slots=True)
class EventsLinked:
    """From the listener's thread to the publisher: events were linked to streams."""

    versions: Mapping[str, int]
    """The new version of each stream."""


@dataclass(frozen=True, slots=True)
class ListenerDeaf:
    """From the listener's thread to the publisher: the database cannot be reached."""

    error: EventStoreError


@dataclass(frozen=True, slots=True)
class ListenerFailed:
    """From the listener's or announcer's thread to the publisher: the thread crashed and ends."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Announce:
    """From the publisher to itself: events sent before this are in memory now; announce them."""


@dataclass(frozen=True, slots=True)
class Watch:
    """To the publisher, from a subscription or for a follower: tell of new events of a stream."""

    stream_id: str
    subscription: Addressee


@dataclass(frozen=True, slots=True)
class Unwatch:
    """To the publisher: announce nothing more to this subscription.

    From the subscription, or from the supervisor if the subscription is dead.
    """

    stream_id: str
    subscription: Addressee


@dataclass(frozen=True, slots=True)
class HeadMoved:
    """From the publisher to a subscription: there may be new events."""

    position: int | None
    """Their highest position in the subscribed stream or ``$all``; None: not known, read on."""


@dataclass(frozen=True, slots=True)
class Forget:
    """From the publisher to the subscriptions: events were deleted; read anew what is not sent."""


@dataclass(frozen=True, slots=True)
class Erase:
    """From the publisher to the keeper: there is something to erase of what was deleted."""


@dataclass(frozen=True, slots=True)
class Touched:
    """From the publisher to the keeper: read the rows of these subscriptions again."""

    subscription_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Changed:
    """From the keeper to an owner: somebody changed the subscription, perhaps its parked events."""


# ── ownership and checkpoints ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Keep:
    """From a subscription to the keeper: renew this lease from now on, and store this progress.

    New progress of the same fence replaces the old.
    """

    subscription_id: int
    progress: Progress
    subscription: Ref
    urgent: bool = False
    """Store it now instead of coalescing it with later progress."""


@dataclass(frozen=True, slots=True)
class Release:
    """From a subscription to the keeper: store this last progress and give up the ownership."""

    subscription_id: int
    progress: Progress
    done: pykka.ThreadingFuture[bool]
    """True: written. False: the write failed, and the lease expires by itself."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """From the keeper to a subscription: its row after a renewal, and the new end of the lease."""

    kept: Kept
    good_until: float
    """End of the lease, on `time.monotonic`: counted from when the renewal was *sent*."""
    asked_at: float
    """When the row was read; later pauses and resumes are not in it."""


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
    """From the timer to an actor: its alarm rang."""


# ── subscribing ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Subscribe:
    """From a caller's thread to the supervisor: start a subscription."""

    stream_id: str
    subscription_name: str
    subscriber: Any
    """A pykka reference, or a callable."""
    options: SubscriptionOptions
    reply: pykka.ThreadingFuture[Subscription]
    """The handle, once the subscription is owned or a standby; or an exception."""
    subscription_id: int | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """From a caller's thread to the supervisor: stop a subscription, or forget one that gave up."""

    stream_id: str
    subscription_name: str
    reply: pykka.ThreadingFuture[None]
    handle: Subscription | None = None
    """Stop it only if this is its handle; None: whatever its handle is."""


@dataclass(frozen=True, slots=True)
class SeatWanted:
    """From the supervisor to a subscription: somebody else asks for its seat; read its row.

    It ends if it has lost the subscription. Otherwise it answers `SeatKept`.
    """


@dataclass(frozen=True, slots=True)
class SeatKept:
    """From a subscription to the supervisor: the row still is what its seat stands for."""

    urn: str


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """From a handle to its subscription: events up to *position* of this run are acknowledged.

    Acknowledgements that arrive before this message is read need no message of their own; see
    `eventstore_actors.state.acks.Acks`.
    """

    run: int
    position: int


@dataclass(frozen=True, slots=True)
class SetPaused:
    """From a handle to its subscription: pause or resume."""

    paused: bool
    reply: pykka.ThreadingFuture[None]
    """Set when the change has taken effect."""


@dataclass(frozen=True, slots=True)
class Continue:
    """From a subscription to itself: read and send on, after the messages that came before."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """From a subscription to its function subscriber: there are batches in the mailbox."""


@dataclass(frozen=True, slots=True)
class SubscriberEnded:
    """From a function subscriber to its subscription: the subscriber's actor ends."""

    error: BaseException | None = None
    """Its crash, which is not one of the function."""


@dataclass(frozen=True, slots=True)
class HandlerFailed:
    """To a subscription: the handler raised or returned a value, or an event was refused."""

    run: int
    error: CaughtError
    answer: Answer
    """What the error says about the batch."""
    events: int
    """Size of the batch; 1 if an event was refused."""
    last_position: int
    """Position of its last event."""


# ── life cycle ───────────────────────────────────────────────────────────────────────────────


class Child(StrEnum):
    """The permanent children of the supervisor."""

    WRITER = "writer"
    PUBLISHER = "publisher"
    KEEPER = "keeper"


@dataclass(frozen=True, slots=True)
class Beat:
    """From the supervisor to a child: note in *pulse* that you have read this."""

    pulse: Pulse


@dataclass(frozen=True, slots=True)
class ThreadCrashed:
    """From a thread that is no actor to the supervisor: it crashed, and goes on."""

    thread: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class ChildUp:
    """From a child to its supervisor: the child is set up and takes messages."""

    urn: str


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """From a child to its supervisor: the child crashed and ends."""

    urn: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class ChildStopped:
    """From a child to its supervisor: the child ended in order."""

    urn: str
    error: BaseException | None = None
    """The reason, if the end was not requested."""


@dataclass(frozen=True, slots=True)
class ChildRestarted:
    """From the supervisor to the subscriptions: this child was restarted and lost its state.

    The subscriptions send a new publisher `Watch` again, and a new keeper `Keep`.
    """

    child: Child


@dataclass(frozen=True, slots=True)
class HistoryRewound:
    """From the publisher or a subscription to the supervisor: the database went back in time.

    The supervisor stops the store.
    """

    error: EventStoreError


@dataclass(frozen=True, slots=True)
class Stop:
    """From the supervisor to a child, or from a caller to the supervisor: end in order."""

    deadline: float
    """When to end at the latest, on `time.monotonic`."""
    reply: pykka.ThreadingFuture[None]
    """Set when the actor has ended."""
    reason: BaseException | None = None
    """The failure of the store that stops the actor; None: the stop was requested."""


@dataclass(frozen=True, slots=True)
class AskHealth:
    """From a caller's thread to the supervisor: how is the store?"""

    reply: pykka.ThreadingFuture[Health]
