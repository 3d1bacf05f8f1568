"""Fixtures for every test: a server, a fresh store in it, and proof that nothing is left behind."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pykka
import pytest

from eventstore.embedded import EmbeddedServer
from tests.support.waiting import wait_until

# In the background of a shell SIGINT is ignored, by us and by everything that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One PostgreSQL server for the whole run; tests that break servers start their own."""
    path: Path = tmp_path_factory.mktemp("server") / "data"
    with EmbeddedServer.start(path) as running:
        yield running


@pytest.fixture
def dsn(server: EmbeddedServer) -> str:
    return server.dsn


@pytest.fixture
def schema(dsn: str) -> Iterator[str]:
    """A name for a store of the test's own; dropped afterwards."""
    name = f"t_{uuid4().hex[:12]}"
    yield name
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            psycopg.sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(psycopg.sql.Identifier(name))
        )


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves an actor, a thread or a connection behind."""
    shared: EmbeddedServer | None = None
    if "server" in request.fixturenames:
        shared = request.getfixturevalue("server")
    threads_before = set(threading.enumerate())
    clients_before = _clients(shared)
    yield
    try:
        wait_until(lambda: not pykka.ActorRegistry.get_all(), timeout=5)
        wait_until(lambda: not _new_threads(threads_before), timeout=5)
        wait_until(lambda: not _clients(shared).keys() - clients_before.keys(), timeout=5)
    except TimeoutError:
        actors = [str(ref) for ref in pykka.ActorRegistry.get_all()]
        threads = [thread.name for thread in _new_threads(threads_before)]
        clients = [what for pid, what in _clients(shared).items() if pid not in clients_before]
        pykka.ActorRegistry.stop_all(block=True, timeout=5)
        pytest.fail(f"left behind: actors {actors}, threads {threads}, connections {clients}")


def _new_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in before]


def _clients(server: EmbeddedServer | None) -> dict[int, str]:
    """Return what every client of *server* but ourselves is, by its process."""
    if server is None:
        return {}
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pid, application_name || ': ' || query FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return dict(rows)


@pytest.fixture
def deadline() -> float:
    """A moment that no single call of a test should need to reach."""
    return time.monotonic() + 10
