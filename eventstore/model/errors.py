"""Errors of the store. The type of an error says what the caller may do next.

    EventStoreError
    ├── AppendError                       refused; nothing was written
    │   ├── WrongExpectedVersionError     re-read and decide
    │   ├── DuplicateEventError           the event id is used elsewhere
    │   └── TooManyAppendsError           the queue is full; try later
    ├── OutcomeUnknownError               retry with the same event ids
    ├── StreamNotFoundError
    ├── StreamDeletedError
    ├── EventNotFoundError                no event has the id; nothing was written
    ├── SerializationError                this value cannot be stored or read
    ├── HistoryRewoundError               the database went back in time; the runtime stops
    ├── SubscriptionError
    │   ├── SubscriptionInUseError        another subscriber is connected
    │   ├── SubscriptionOptionsError      its filter or keep_order is another one
    │   ├── SubscriptionNotFoundError
    │   ├── SubscriptionLostError         fenced, deleted or closed
    │   ├── DeliveryTimeoutError          not delivered and acknowledged in time
    │   ├── EventParkedError              put aside: retry or skip it
    │   └── UnexpectedAckError            not delivered by this subscription
    ├── ProjectionError                   refused; nothing was changed
    │   └── ProjectionNotFoundError
    ├── StorageError                      the database refused; see __cause__
    │   ├── StorageUnavailableError       nothing was written; retry later
    │   └── SchemaVersionError            install or migrate the schema
    └── NotRunningError                   closed, forked, or not for this runtime

Errors of psycopg and pykka stay reachable as ``__cause__``. Bad arguments are `ValueError` or
`TypeError` and name the argument. No message contains a password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from eventstore.model.checks import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from eventstore.model.events import ExpectedVersion

__all__ = [
    "AppendError",
    "DeliveryTimeoutError",
    "DuplicateEventError",
    "EventNotFoundError",
    "EventParkedError",
    "EventStoreError",
    "HistoryRewoundError",
    "NotRunningError",
    "OutcomeUnknownError",
    "ProjectionError",
    "ProjectionNotFoundError",
    "SchemaVersionError",
    "SerializationError",
    "StorageError",
    "StorageUnavailableError",
    "StreamDeletedError",
    "StreamNotFoundError",
    "SubscriptionError",
    "SubscriptionInUseError",
    "SubscriptionLostError",
    "SubscriptionNotFoundError",
    "SubscriptionOptionsError",
    "TooManyAppendsError",
    "UnexpectedAckError",
    "WrongExpectedVersionError",
]


class EventStoreError(Exception):
    """Base of every error of the store."""

    retryable: ClassVar[bool] = False
    """Whether the same call, with the same event ids, may succeed later."""

    stored: int | None = None
    """How many events of an `append_many` surely are stored; None for other calls."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own would call the class with the message alone, which these do not accept.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(
    kind: type[EventStoreError], args: tuple[Any, ...], fields: dict[str, Any]
) -> EventStoreError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class AppendError(EventStoreError):
    """The append was refused and nothing of it was written.

    Itself, not a subclass: its thread or task has a transaction open in which it appended with
    ``connection=``, and for whose end it would wait.
    """


class WrongExpectedVersionError(AppendError):
    """The stream is at another version than expected: re-read it and decide again."""

    def __init__(self, stream_id: str, expected: int | ExpectedVersion, actual: int) -> None:
        wanted = getattr(expected, "name", expected)
        super().__init__(f"stream {stream_id!r} is at version {actual}, expected {wanted}")
        self.stream_id = stream_id
        self.expected = expected
        self.actual = actual
        """The version found; 0 if the stream does not exist."""


class DuplicateEventError(AppendError):
    """The event id is already stored, and not by an earlier attempt of the same append."""

    def __init__(self, event_id: UUID, used: str = "used by another append") -> None:
        super().__init__(f"event id {event_id} is already {used}")
        self.event_id = event_id


class TooManyAppendsError(AppendError):
    """The queue of waiting appends is full: try again later."""

    retryable = True


class OutcomeUnknownError(EventStoreError):
    """The deadline passed without an answer: the append may or may not be stored.

    Retry with the same event ids: stored events are found and returned, never stored twice.
    """

    retryable = True


class StreamNotFoundError(EventStoreError):
    """The stream does not exist."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"stream {stream_id!r} does not exist")
        self.stream_id = stream_id


class StreamDeletedError(EventStoreError):
    """The stream was deleted."""

    def __init__(self, stream_id: str, deleted_at: datetime | None = None) -> None:
        when = f" at {deleted_at.isoformat()}" if deleted_at else ""
        super().__init__(f"stream {stream_id!r} was deleted{when}")
        self.stream_id = stream_id
        self.deleted_at = deleted_at


class EventNotFoundError(EventStoreError):
    """No event has this id. Nothing was written."""

    def __init__(self, event_id: UUID) -> None:
        super().__init__(f"no event has the id {event_id}")
        self.event_id = event_id


class SerializationError(EventStoreError):
    """A value cannot be serialized, or stored bytes cannot be read as the registered type.

    A read with ``raw=True`` returns the bytes of such an event.
    """

    def __init__(
        self,
        event_type: str,
        reason: str,
        *,
        event_id: UUID | None = None,
        stream_id: str | None = None,
        position: int | None = None,
        kind: str = "event",
    ) -> None:
        super().__init__(f"{kind} type {event_type!r}: {reason}")
        self.event_type = event_type
        """Of a snapshot, its type."""
        self.reason = reason
        """What is wrong, without the type."""
        self.event_id = event_id
        self.stream_id = stream_id
        """The stream it is stored in; None if it was not stored."""
        self.position = position
        """Its global position; None if it was not stored."""


class HistoryRewoundError(EventStoreError):
    """The database lost committed events, by a failover or a restore. The runtime stops."""


class SubscriptionError(EventStoreError):
    """Base of the errors of one subscription."""

    def __init__(self, message: str, stream_id: str, subscription_name: str) -> None:
        super().__init__(message)
        self.stream_id = stream_id
        self.subscription_name = subscription_name


class SubscriptionInUseError(SubscriptionError):
    """Another subscriber is connected: wait until it ends, or use another name."""

    def __init__(
        self, stream_id: str, subscription_name: str, owner: str, since: datetime | None
    ) -> None:
        held = f" since {since.isoformat()}" if since else ""
        super().__init__(
            f"subscription {subscription_name!r} to {stream_id!r} is held by {owner}{held}",
            stream_id,
            subscription_name,
        )
        self.owner = owner
        self.since = since


class SubscriptionOptionsError(SubscriptionError):
    """Its filter or `keep_order` is another one: give that one, reset it, or use another name.

    That of a projection is not reset, but rebuilt; see `EventStore.rebuild_projection`.
    """

    def __init__(
        self,
        stream_id: str,
        subscription_name: str,
        stored: Mapping[str, Any],
        given: Mapping[str, Any],
        *,
        of_projection: bool = False,
    ) -> None:
        otherwise = (
            "rebuild it (rebuild_projection), or use another version"
            if of_projection
            else "reset it, or use another name"
        )
        super().__init__(
            f"subscription {subscription_name!r} to {stream_id!r} has the options {shown(stored)},"
            f" not {shown(given)}: give those, {otherwise}",
            stream_id,
            subscription_name,
        )
        self.stored_options = stored
        self.given_options = given


class SubscriptionNotFoundError(SubscriptionError):
    """No subscription of this name exists, or none runs in this store."""

    def __init__(self, stream_id: str, subscription_name: str) -> None:
        super().__init__(
            f"no subscription {subscription_name!r} to {stream_id!r}",
            stream_id,
            subscription_name,
        )


class SubscriptionLostError(SubscriptionError):
    """This process no longer owns the subscription: taken over, deleted, reset or closed."""


class DeliveryTimeoutError(SubscriptionError, TimeoutError):
    """Not delivered and acknowledged in time. The handler's last error is its ``__cause__``."""

    def __init__(self, message: str, stream_id: str, subscription_name: str, state: str) -> None:
        super().__init__(message, stream_id, subscription_name)
        self.state = state


class EventParkedError(SubscriptionError):
    """What was waited for is parked: `retry_parked` has it delivered again, `skip_parked` never."""

    def __init__(self, stream_id: str, subscription_name: str, position: int, reason: str) -> None:
        super().__init__(
            f"subscription {subscription_name!r} to {stream_id!r} has parked the event at position"
            f" {position}, retry or skip it: {reason}",
            stream_id,
            subscription_name,
        )
        self.position = position
        self.reason = reason


class UnexpectedAckError(SubscriptionError):
    """This subscription did not deliver what was acknowledged. Nothing changed."""

    def __init__(
        self,
        stream_id: str,
        subscription_name: str,
        position: int,
        sent: int = 0,
        reason: str | None = None,
    ) -> None:
        why = reason or f"was not delivered, the highest delivered is {sent}"
        super().__init__(
            f"subscription {subscription_name!r} to {stream_id!r}: position {position} {why}",
            stream_id,
            subscription_name,
        )
        self.position = position


class ProjectionError(EventStoreError):
    """A version of a projection is not as it must be; the message says what to do."""

    def __init__(self, message: str, name: str, version: int) -> None:
        super().__init__(message)
        self.name = name
        self.version = version


class ProjectionNotFoundError(ProjectionError):
    """The version of the projection does not exist, or not any more."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(f"projection {name!r} has no version {version}", name, version)


class StorageError(EventStoreError):
    """The storage refused or failed; the driver's error is the ``__cause__``."""


class StorageUnavailableError(StorageError):
    """No connection, no lock or no right before the deadline. Nothing was written: retry later."""

    retryable = True


class SchemaVersionError(StorageError):
    """The schema is missing, too old or too new, or the store in it is another one now."""

    def __init__(self, message: str, *, found: int | None, expected: int | None) -> None:
        super().__init__(message)
        self.found = found
        """The installed version; None if no schema is installed, or another store."""
        self.expected = expected
        """The version that this library needs; None if the version is not the problem."""


class NotRunningError(EventStoreError):
    """The store is closed, belongs to another process, or its runtime cannot do this."""
