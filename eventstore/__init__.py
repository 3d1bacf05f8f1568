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
from eventstore.model.config import Config as Config
from eventstore.model.errors import (
    AppendError as AppendError,
    DeliveryTimeoutError as DeliveryTimeoutError,
    DuplicateEventError as DuplicateEventError,
    EventStoreError as EventStoreError,
    HistoryRewoundError as HistoryRewoundError,
    NotRunningError as NotRunningError,
    OutcomeUnknownError as OutcomeUnknownError,
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
    TooManyAppendsError as TooManyAppendsError,
    UnexpectedAckError as UnexpectedAckError,
    WrongExpectedVersionError as WrongExpectedVersionError,
)
from eventstore.model.events import (
    AppendResult as AppendResult,
    EventData as EventData,
    ExpectedVersion as ExpectedVersion,
    RecordedEvent as RecordedEvent,
    StreamInfo as StreamInfo,
)
from eventstore.model.serializer import (
    JsonSerializer as JsonSerializer,
    Serializer as Serializer,
)
from eventstore.model.subscriber_messages import (
    Events as Events,
    StoreFailed as StoreFailed,
    Subscribed as Subscribed,
    SubscriptionLost as SubscriptionLost,
)
from eventstore.model.subscription import (
    Retry as Retry,
    Subscription as Subscription,
    SubscriptionInfo as SubscriptionInfo,
    SubscriptionKeywords as SubscriptionKeywords,
    SubscriptionState as SubscriptionState,
)
from eventstore.ports.runtime import (
    Health as Health,
    Runtime as Runtime,
    SubscriptionHealth as SubscriptionHealth,
)

# "X as X" tells type checkers that X is public; what they cannot see is derived from it.
__all__ = [name for name in [*globals()] if name[0].isupper()]
