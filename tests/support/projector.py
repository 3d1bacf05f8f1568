"""A program that runs a projection, to be killed in the middle of what its functions do.

Knows only the public API. Started by `tests.support.processes.Service`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pykka

from eventstore import Config, Events, EventStore, Projection
from tests.support.receiver import report

__all__ = ["LOCK", "NAME", "projection"]

NAME = "entries"

LOCK = 4711
"""Whoever holds this advisory lock stops every function in its middle."""

_HALFWAY = f"SELECT pg_advisory_xact_lock_shared({LOCK})"


def projection(version: int) -> Projection:
    """Return a version: the table ``entries_VERSION``, and the view ``entries``."""
    table = f"{NAME}_{version}"

    def create(connection: Any) -> None:
        connection.execute(f"CREATE TABLE {table} (position bigint)")
        _stop_halfway(connection, "create")
        connection.execute(f"CREATE INDEX ON {table} (position)")

    def handle(events: Events, connection: Any) -> None:
        rows = [(event.global_position,) for event in events]
        half = len(rows) // 2
        insert = f"INSERT INTO {table} VALUES (%s)"
        cursor = connection.cursor()
        cursor.executemany(insert, rows[:half])
        _stop_halfway(connection, "handle")
        cursor.executemany(insert, rows[half:])

    def switch(connection: Any) -> None:
        connection.execute(f"CREATE OR REPLACE VIEW {NAME} AS TABLE {table}")
        _stop_halfway(connection, "switch")

    return Projection(NAME, version, handle, create=create, switch=switch, max_batch_size=10)


def _stop_halfway(connection: Any, what: str) -> None:
    report("in", function=what)
    connection.execute(_HALFWAY)


def main(given: dict[str, Any]) -> None:
    """Run a version until stdin ends; switch to it first if that is asked for."""
    version, switches = given.pop("version"), given.pop("switches")
    with EventStore.connect(Config(**given)) as store:
        report("ready", pid=os.getpid())
        store.project(projection(version))
        report("projected")
        if switches:
            store.switch_projection(NAME, version)
            report("switched")
        sys.stdin.read()
    pykka.ActorRegistry.stop_all()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
