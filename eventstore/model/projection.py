"""A projection as its users see it: the functions of one version, and its state. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Unpack

from eventstore.model.checks import check_int, shown
from eventstore.model.names import check_name
from eventstore.model.plain_functions import check_plain_function, is_coroutine_function
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import (
    SubscriptionKeywords,
    SubscriptionOptions,
    SubscriptionState,
    documents_options,
)

__all__ = ["Change", "Projection", "ProjectionInfo", "check_version", "subscription_of"]

Handle = Callable[[Events, Any], object] | Callable[[Events, Any], Awaitable[object]]
"""Writes what events come to, over a connection of psycopg."""

Change = Callable[[Any], object] | Callable[[Any], Awaitable[object]]
"""Changes the tables of a projection over a connection of psycopg."""

MOST = 2**31 - 1
"""Highest version of a projection."""

_DEFAULTS: SubscriptionKeywords = {"max_batch_size": 5_000, "buffer_size": 10_000}


@documents_options
class Projection:
    """One version of a read model: tables that the events of all streams keep up to date.

    A new version is built beside the old one, in tables of its own, and readers are switched to it
    once it has caught up. Each function gets a connection of psycopg in a transaction of the store,
    which commits it; one that ends the transaction itself is an error. All are plain functions or
    all are coroutine functions, which `AsyncEventStore` calls with an `AsyncConnection`.

    The options are those of a subscription with `transactional=True`. `max_batch_size` defaults to
    5,000 and `buffer_size` to 10,000, so that it catches up fast.
    """

    __slots__ = ("create", "drop", "handle", "name", "options", "switch", "version")

    def __init__(
        self,
        name: str,
        version: int,
        handle: Handle,
        *,
        create: Change | None = None,
        switch: Change | None = None,
        drop: Change | None = None,
        **options: Unpack[SubscriptionKeywords],
    ) -> None:
        """Describe a version; `EventStore.project` runs it.

        Args:
            name: Names all versions together; with ``@`` and a version, 1 to 1,000 bytes of UTF-8.
                The subscription to ``$all`` is named so: ``name@version``.
            version: 1 or more; another one for other tables, or for other contents of them.
            handle: Takes `(events, connection)` and writes what the events come to. Its writes
                commit together with the checkpoint, so each event counts exactly once.
            create: Takes `(connection)` and makes the tables of this version. Called once, by
                whichever process is first. Defaults to nothing.
            switch: Takes `(connection)` and leads readers to the tables of this version, for
                instance by ``CREATE OR REPLACE VIEW``. Defaults to nothing.
            drop: Takes `(connection)` and drops what *create* made. Defaults to nothing.
            **options: Listed above.

        Raises:
            TypeError, ValueError: An argument is invalid; the message names it.
        """
        self.name = check_name("name", name)
        self.version = check_version(version)
        check_name("name with its version", self.subscription_name)
        self.handle = _checked("handle", handle, "(events, connection)", 2)
        self.create = create
        self.switch = switch
        self.drop = drop
        for argument in ("create", "switch", "drop"):
            if (function := getattr(self, argument)) is not None:
                _checked(argument, function, "(connection)", 1)
                self._check_kind(argument, function)
        if "transactional" in options:
            raise TypeError("transactional cannot be given: a Projection is always transactional")
        self.options = SubscriptionOptions.parse({**_DEFAULTS, **options, "transactional": True})

    def __repr__(self) -> str:
        return f"<Projection {self.subscription_name}>"

    @property
    def subscription_name(self) -> str:
        """Name of its subscription to ``$all``."""
        return subscription_of(self.name, self.version)

    @property
    def is_for_loops(self) -> bool:
        """Whether its functions are coroutine functions."""
        return is_coroutine_function(self.handle)

    def _check_kind(self, argument: str, function: Change) -> None:
        if is_coroutine_function(function) != self.is_for_loops:
            wanted = "a coroutine function" if self.is_for_loops else "a plain function"
            raise TypeError(f"{argument} must be {wanted}, as handle is: {shown(function)}")


def check_version(value: object) -> int:
    """Return *value* if it can be the version of a projection."""
    return check_int("version", value, least=1, most=MOST)


def subscription_of(name: str, version: int) -> str:
    """Return the name of the subscription of a version."""
    return f"{name}@{version}"


def _checked(argument: str, function: Any, takes: str, count: int) -> Any:
    """Return *function* if it can be called with *count* arguments, and does its work then."""
    if not is_coroutine_function(function):
        check_plain_function(argument, function)
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError as error:
        raise TypeError(f"{argument} takes {takes}: {shown(function)}: {error}") from None
    except ValueError:  # it has no signature
        pass
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionInfo:
    """State of a version of a projection at one moment, as it is stored."""

    name: str
    version: int
    is_current: bool
    """Whether it is the version that readers were led to last."""
    created_at: datetime
    """When `Projection.create` had run."""
    switched_at: datetime | None
    """When it became the current version; None: it is not."""
    state: SubscriptionState | None
    """As in `SubscriptionInfo`. None: its subscription was deleted, and so nobody knows which
    events are in its tables; see `EventStore.rebuild_projection`."""
    paused: bool
    owner: str | None
    """Host and process of the owner; None if nobody owns it."""
    position: int
    """Everything up to it is in the tables."""
    head: int
    """Newest position of the store."""
    lag_events: int
    """Positions between the two; 0 if nothing is left to handle."""
    lag_seconds: float
    """Age of the oldest event that is not handled; 0 if there is none."""
    rate: float | None
    """Positions per second between two looks; None: nobody looked twice."""
    last_error: str | None
    """As in `SubscriptionInfo`."""
