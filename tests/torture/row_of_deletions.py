"""Deletes subscriptions in a row, while one runtime owns them and another stands by."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from uuid import uuid4

from psycopg.conninfo import make_conninfo

from eventstore import Config, Events, EventStore, EventStoreError, SubscriptionNotFoundError

__all__ = ["DELETED", "delete_subscriptions"]

DELETED = "deleted-"
"""Prefix of the names of the subscriptions that must be gone at the end."""

_NUMBER = 20
_LONGEST = 30.0
"""Most seconds in which a deletion is tried again, while other faults go on."""


def delete_subscriptions(observer: EventStore, config: Config) -> Callable[[], None]:
    """Subscribe and delete; return a function that makes sure of every deletion."""
    names = [f"{DELETED}{uuid4()}" for _ in range(_NUMBER)]
    with contextlib.suppress(EventStoreError), ExitStack() as closing:
        for runtime in ("owner", "standby"):
            dsn = make_conninfo(config.dsn, application_name=f"deletions-{runtime}")
            store = closing.enter_context(EventStore.connect(replace(config, dsn=dsn)))
            for name in names:
                store.subscribe_to_all_streams(name, _ignore, start_from="current")
        for name in names:
            observer.delete_subscription("$all", name)
    return lambda: _delete_the_rest(observer, names)


def _ignore(events: Events) -> None:
    """Acknowledge a batch."""


def _delete_the_rest(observer: EventStore, names: list[str]) -> None:
    """Delete what another fault left."""
    deadline = time.monotonic() + _LONGEST
    for name in names:
        while time.monotonic() < deadline:
            with contextlib.suppress(SubscriptionNotFoundError, EventStoreError):
                observer.delete_subscription("$all", name)
            if all(info.subscription_name != name for info in observer.subscriptions()):
                break
