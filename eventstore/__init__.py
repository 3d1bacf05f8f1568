"""An event store on PostgreSQL for Python services.

Append events to streams with optimistic concurrency, read them, and subscribe to them: named,
durable subscriptions deliver every committed event, in order, at least once.
"""

from __future__ import annotations

from eventstore.caller import CallerRuntime
from eventstore.config import Config
from eventstore.errors import (
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
from eventstore.events import AppendResult, EventData, ExpectedVersion, RecordedEvent, StreamInfo
from eventstore.messages import Events, StoreFailed, Subscribed, SubscriptionLost
from eventstore.runtime import Health, Runtime, SubscriptionHealth
from eventstore.serializer import JsonSerializer, Serializer
from eventstore.store import EventStore
from eventstore.subscription import (
    Retry,
    Subscription,
    SubscriptionInfo,
    SubscriptionState,
)

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
    "SubscriptionLost",
    "SubscriptionLostError",
    "SubscriptionNotFoundError",
    "SubscriptionState",
    "TooManyAppendsError",
    "UnexpectedAckError",
    "WrongExpectedVersionError",
]
