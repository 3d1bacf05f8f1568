"""A program that notes events in a table. An event whose data are negative kills it.

Knows only the public API. Started by `tests.support.processes.Service`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import psycopg
import pykka

from eventstore import AsyncEventStore, Config, Events, EventStore, Retry
from tests.support.receiver import report

__all__ = ["NAME", "TABLES", "WAYS"]

NAME = "relay"

TABLES = """
    CREATE TABLE begun (
      nth bigint GENERATED ALWAYS AS IDENTITY, number int, size int, replay boolean);
    CREATE TABLE handled (nth bigint GENERATED ALWAYS AS IDENTITY, number int, replay boolean);
"""
"""What is begun, in a batch of which size, is committed at once."""

_BEGUN = "INSERT INTO begun (number, size, replay) VALUES (%s, %s, %s)"
_HANDLED = "INSERT INTO handled (number, replay) SELECT %s, %s FROM pg_sleep(0.005)"

Handle = Callable[..., None]


def handler(dsn: str) -> Handle:
    """Return what handles events, in the given transaction if there is one."""
    own = psycopg.connect(dsn, autocommit=True)

    def handle(events: Events, connection: psycopg.Connection[Any] = own) -> None:
        for event in events:
            own.execute(_BEGUN, (event.data, len(events), events.replay))
            if event.data < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            connection.execute(_HANDLED, (event.data, events.replay))

    return handle


class Relay(pykka.ThreadingActor):
    """The same as an actor."""

    use_daemon_thread = True

    def __init__(self, handle: Handle) -> None:
        super().__init__()
        self._handle = handle

    def on_receive(self, message: object) -> None:
        if isinstance(message, Events):
            self._handle(message)
            message.subscription.ack(message)


WAYS: dict[str, Callable[[Handle], dict[str, Any]]] = {
    "function": lambda handle: {"subscriber": handle},
    "actor": lambda handle: {"subscriber": Relay.start(handle)},
    "transactional": lambda handle: {"subscriber": handle, "transactional": True},
}


def main(way: str, retry: dict[str, Any], given: dict[str, Any]) -> None:
    """Relay until stdin ends, or until an event kills this process."""
    with EventStore.connect(Config(**given)) as store:
        report("ready", pid=os.getpid())
        store.subscribe_to_all_streams(
            NAME, **WAYS[way](handler(store.dsn)), on_error=Retry(**retry)
        )
        sys.stdin.read()
    pykka.ActorRegistry.stop_all()


async def main_of_coroutines(retry: dict[str, Any], given: dict[str, Any]) -> None:
    """Do so on a loop."""
    async with await AsyncEventStore.connect(Config(**given)) as store:
        handle = handler(store.dsn)

        async def relay(events: Events) -> None:
            await asyncio.to_thread(handle, events)

        report("ready", pid=os.getpid())
        await store.subscribe_to_all_streams(NAME, relay, on_error=Retry(**retry))
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    kind, tries = told.pop("way"), told.pop("retry")
    if kind == "coroutine":
        asyncio.run(main_of_coroutines(tries, told))
    else:
        main(kind, tries, told)
