"""A coroutine function as a subscriber, and the loop that subscribed it."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeGuard

from eventstore.client.loop_calls import calls_into
from eventstore.model.subscriber_messages import Events, Receiver
from eventstore.model.subscription import Subscription
from eventstore.ports.waits import Waits

__all__ = ["HANDLED", "AsyncHandler", "AsyncReceiver", "CoroutineHandler", "is_coroutine_function"]

AsyncHandler = Callable[[Events], Awaitable[object]] | Callable[[Events, Any], Awaitable[object]]
"""A coroutine function of `Events`. It acknowledges a batch by returning None.

With `transactional` it takes an `AsyncConnection` of psycopg, too.
"""

HANDLED: ContextVar[Subscription | None] = ContextVar("eventstore_handled", default=None)
"""The subscription whose handler this code runs in, if any."""


AsyncReceiver = Receiver | AsyncHandler
"""What can subscribe: a coroutine function, a function, or the reference of an actor."""


class CoroutineHandler:
    """A handler that runs on the loop of the task that made this object."""

    def __init__(self, function: AsyncHandler, waits: Waits) -> None:
        self.function = function
        self.waits = waits
        self.calls = calls_into(asyncio.get_running_loop())
        self.free = asyncio.Lock()
        """Held while the handler runs, so that it never runs twice at once, even after a crash."""


def is_coroutine_function(subscriber: Any) -> TypeGuard[AsyncHandler]:
    """Tell whether a call of *subscriber* returns a coroutine."""
    while isinstance(subscriber, functools.partial):
        subscriber = subscriber.func
    called = subscriber if inspect.isroutine(subscriber) else getattr(subscriber, "__call__", None)  # noqa: B004 - wanted itself
    return inspect.iscoroutinefunction(called)
