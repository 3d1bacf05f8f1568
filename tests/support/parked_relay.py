"""A program that relays events, to be killed: the parked ones are delivered again by it.

Knows only the public API. Started by `tests.support.processes.Service`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import psycopg
import pykka

from eventstore import Config, Events, EventStore
from tests.support.receiver import report

__all__ = ["NAME", "TABLE"]

NAME = "relay"

TABLE = """
    CREATE TABLE handled (
      nth bigint GENERATED ALWAYS AS IDENTITY, pid int, stream text, number int, replay boolean)
"""

_INSERT = """
    INSERT INTO handled (pid, stream, number, replay)
    SELECT %s, %s, %s, %s FROM pg_sleep(0.02)
"""
"""It takes so long that each kill comes in the middle."""


def main(given: dict[str, Any]) -> None:
    """Note every event in a table, until stdin ends."""
    with EventStore.connect(Config(**given)) as store:
        connection = psycopg.connect(store.dsn, autocommit=True)

        def handle(events: Events) -> None:
            for event in events:
                row = (os.getpid(), event.stream_id, event.data, events.replay)
                connection.execute(_INSERT, row)

        report("ready", pid=os.getpid())
        store.subscribe_to_all_streams(NAME, handle, max_batch_size=5)
        sys.stdin.read()
    pykka.ActorRegistry.stop_all()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
