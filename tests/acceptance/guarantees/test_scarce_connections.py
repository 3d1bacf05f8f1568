"""More processes than the server has connections for: appends go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from eventstore import CallerRuntime, Config, EventData, EventStore
from tests.support.pgserver import TestServer
from tests.support.processes import Service

PROCESSES = 6
LIMITS = {
    "max_connections": ({"max_connections": "60", "superuser_reserved_connections": "3"}, ""),
    "reserved": ({"max_connections": "70", "superuser_reserved_connections": "13"}, ""),
    "role": ({"max_connections": "100"}, "ALTER ROLE shop CONNECTION LIMIT 57"),
    "database": ({"max_connections": "100"}, "ALTER DATABASE postgres CONNECTION LIMIT 57"),
}
"""What leaves 57 connections for everybody: settings of the server, or a statement."""


@pytest.fixture(params=LIMITS)
def scarce(request: pytest.FixtureRequest) -> Iterator[TestServer]:
    """A server with fewer connections than six processes may open, and a store of `shop` in it."""
    settings, statement = LIMITS[request.param]
    with TestServer(settings) as server:
        with server.connect() as connection:
            connection.execute("CREATE ROLE shop LOGIN")
            connection.execute(statement.encode())
            connection.execute("GRANT CREATE ON DATABASE postgres TO shop")
        events = [EventData("Happened", {"text": "x" * 100}) for _ in range(1000)]
        config = Config(as_shop(server))
        with EventStore.connect(config, runtime=CallerRuntime, init=True) as store:
            store.append_to_stream("before", 0, events)
        yield server


def as_shop(server: TestServer) -> str:
    """Return the connection string of a user for whom no connection is reserved."""
    return make_conninfo(server.dsn, user="shop")


def take_the_rest(server: TestServer, stack: ExitStack) -> None:
    """Connect until nobody can any more."""
    for _ in range(60):
        try:
            connection = psycopg.connect(as_shop(server))
        except psycopg.OperationalError:
            return
        stack.enter_context(connection)
    raise AssertionError("the server takes everybody")


@pytest.mark.slow
def test_every_process_appends_after_all_of_them_read_in_a_burst(scarce: TestServer) -> None:
    """F35, G25: the writers get what the pools can spare, though no connection is left."""
    with ExitStack() as stack:
        services = [
            Service({"dsn": as_shop(scarce)}, program="tests.acceptance.guarantees.bursting")
            for _ in range(PROCESSES)
        ]
        for service in services:
            stack.callback(service.kill9)
            service.ready()
        for service in services:
            service.do("burst")
        for service in services:
            service.wait("burst", timeout=60)
        take_the_rest(scarce, stack)
        for service in services:
            service.do("append")
        for service in services:
            service.wait("append", timeout=30)
        for service in services:
            assert service.end() == 0
