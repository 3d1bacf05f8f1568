"""An event store on PostgreSQL for Python services.

Append events to streams with optimistic concurrency, read them, and subscribe to them: named,
durable subscriptions deliver every committed event, in order, at least once.
"""

from __future__ import annotations

from eventstore.client.caller_runtime import CallerRuntime
from eventstore.client.store import EventStore
from eventstore.model.config import Config
from eventstore.model.errors import (
    AppendError,
    DeliveryTimeoutError,
    DuplicateEventError,
    EventStoreError,
    HistoryRewoundError,
    NotRunningError,
    OutcomeUnknownError,
    SchemaVersionError,
    SerializationError,
    StorageError,
    StorageUnavailableError,
    StreamDeletedError,
    StreamNotFoundError,
    SubscriptionError,
    SubscriptionInUseError,
    SubscriptionLostError,
    SubscriptionNotFoundError,
    TooManyAppendsError,
    UnexpectedAckError,
    WrongExpectedVersionError,
)
from eventstore.model.events import (
    AppendResult,
    EventData,
    ExpectedVersion,
    RecordedEvent,
    StreamInfo,
)
from eventstore.model.serializer import JsonSerializer, Serializer
from eventstore.model.subscriber_messages import Events, StoreFailed, Subscribed, SubscriptionLost
from eventstore.model.subscription import (
    Retry,
    Subscription,
    SubscriptionInfo,
    SubscriptionKeywords,
    SubscriptionState,
)
from eventstore.ports.runtime import Health, Runtime, SubscriptionHealth

__all__ = [
    "AppendError",
    "AppendResult",
    "CallerRuntime",
    "Config",
    "DeliveryTimeoutError",
    "DuplicateEventError",
    "EventData",
    "EventStore",
    "EventStoreError",
    "Events",
    "ExpectedVersion",
    "Health",
    "HistoryRewoundError",
    "JsonSerializer",
    "NotRunningError",
    "OutcomeUnknownError",
    "RecordedEvent",
    "Retry",
    "Runtime",
    "SchemaVersionError",
    "SerializationError",
    "Serializer",
    "StorageError",
    "StorageUnavailableError",
    "StoreFailed",
    "StreamDeletedError",
    "StreamInfo",
    "StreamNotFoundError",
    "Subscribed",
    "Subscription",
    "SubscriptionError",
    "SubscriptionHealth",
    "SubscriptionInUseError",
    "SubscriptionInfo",
    "SubscriptionKeywords",
    "SubscriptionLost",
    "SubscriptionLostError",
    "SubscriptionNotFoundError",
    "SubscriptionState",
    "TooManyAppendsError",
    "UnexpectedAckError",
    "WrongExpectedVersionError",
]
