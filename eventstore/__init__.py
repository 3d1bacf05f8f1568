"""An event store on PostgreSQL for Python services.

Append events to streams with optimistic concurrency, read them, and subscribe to them: named,
durable subscriptions deliver every committed event, in order, at least once.
"""

from __future__ import annotations

from eventstore.client.async_store import AsyncEventStore as AsyncEventStore
from eventstore.client.async_subscription import AsyncSubscription as AsyncSubscription
from eventstore.client.caller_runtime import CallerRuntime as CallerRuntime
from eventstore.client.following import (
    AsyncFollower as AsyncFollower,
    Follower as Follower,
)
from eventstore.client.store import EventStore as EventStore
from eventstore.model.answers import (
    Nacked as Nacked,
    Park as Park,
    RetryAfter as RetryAfter,
    Skip as Skip,
    Stop as Stop,
)
from eventstore.model.config import Config as Config
from eventstore.model.errors import (
    AppendError as AppendError,
    DeliveryTimeoutError as DeliveryTimeoutError,
    DuplicateEventError as DuplicateEventError,
    EventNotFoundError as EventNotFoundError,
    EventParkedError as EventParkedError,
    EventStoreError as EventStoreError,
    HistoryRewoundError as HistoryRewoundError,
    NotRunningError as NotRunningError,
    OutcomeUnknownError as OutcomeUnknownError,
    ProjectionError as ProjectionError,
    ProjectionNotFoundError as ProjectionNotFoundError,
    SchemaVersionError as SchemaVersionError,
    SerializationError as SerializationError,
    StorageError as StorageError,
    StorageUnavailableError as StorageUnavailableError,
    StreamDeletedError as StreamDeletedError,
    StreamNotFoundError as StreamNotFoundError,
    SubscriptionError as SubscriptionError,
    SubscriptionInUseError as SubscriptionInUseError,
    SubscriptionLostError as SubscriptionLostError,
    SubscriptionNotFoundError as SubscriptionNotFoundError,
    SubscriptionOptionsError as SubscriptionOptionsError,
    TooManyAppendsError as TooManyAppendsError,
    UnexpectedAckError as UnexpectedAckError,
    WrongExpectedVersionError as WrongExpectedVersionError,
)
from eventstore.model.events import (
    AppendResult as AppendResult,
    EventData as EventData,
    ExpectedVersion as ExpectedVersion,
    LinkResult as LinkResult,
    RecordedEvent as RecordedEvent,
    StreamInfo as StreamInfo,
)
from eventstore.model.parked import ParkedEvent as ParkedEvent
from eventstore.model.projection import (
    Projection as Projection,
    ProjectionInfo as ProjectionInfo,
)
from eventstore.model.retry import Retry as Retry
from eventstore.model.serializer import (
    JsonSerializer as JsonSerializer,
    Serializer as Serializer,
)
from eventstore.model.snapshots import (
    Snapshot as Snapshot,
    SnapshotData as SnapshotData,
)
from eventstore.model.subscriber_messages import (
    Events as Events,
    StoreFailed as StoreFailed,
    Subscribed as Subscribed,
    SubscriptionLost as SubscriptionLost,
)
from eventstore.model.subscription import (
    Subscription as Subscription,
    SubscriptionKeywords as SubscriptionKeywords,
    SubscriptionState as SubscriptionState,
)
from eventstore.model.subscription_info import SubscriptionInfo as SubscriptionInfo
from eventstore.ports.runtime import (
    Health as Health,
    Runtime as Runtime,
    SubscriptionHealth as SubscriptionHealth,
)

# "X as X" tells type checkers that X is public; what they cannot see is derived from it.
__all__ = [name for name in [*globals()] if name[0].isupper()]
