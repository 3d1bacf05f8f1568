"""Fixtures for every test: a server, a fresh store in it, and proof that nothing is left behind."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pykka
import pytest

from eventstore.embedded import EmbeddedServer
from tests.support.effort import choose_profile
from tests.support.onlooker import Onlooker
from tests.support.pgserver import prepare, roomy_folder, share_template
from tests.support.waiting import wait_until

# In the background of a shell SIGINT is ignored, by us and by everything that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

choose_profile()


def pytest_collection_finish() -> None:
    """Spare the garbage collector the thousands of tests that live until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of all tests, the same for all workers of pytest-xdist."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def _template(run_folder: Path) -> None:
    """Let the workers run initdb once, together."""
    share_template(run_folder)


ONLOOKER = pytest.StashKey[Onlooker]()


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config, _template: None
) -> Iterator[EmbeddedServer]:
    """One PostgreSQL server of each worker; tests that break servers start their own."""
    with (
        roomy_folder(tmp_path_factory) as folder,
        EmbeddedServer.start(prepare(folder), timeout=100) as running,
        closing(Onlooker(running.dsn)) as onlooker,
    ):
        pytestconfig.stash[ONLOOKER] = onlooker
        yield running
        del pytestconfig.stash[ONLOOKER]


@pytest.fixture
def dsn(server: EmbeddedServer) -> str:
    return server.dsn


@pytest.fixture
def schema(server: EmbeddedServer, pytestconfig: pytest.Config) -> Iterator[str]:
    """A name for a store of the test's own; dropped afterwards."""
    name = f"t_{uuid4().hex[:12]}"
    yield name
    pytestconfig.stash[ONLOOKER].drop_schema(name)


@pytest.fixture(autouse=True)
def nothing_left_behind(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fail the test that leaves an actor, a thread or a connection behind."""
    threads_before = set(threading.enumerate())
    clients_before = _clients(pytestconfig).keys()
    yield

    def clients() -> dict[int, str]:
        now = _clients(pytestconfig)
        return {pid: what for pid, what in now.items() if pid not in clients_before}

    try:
        wait_until(lambda: not pykka.ActorRegistry.get_all())
        wait_until(lambda: not _new_threads(threads_before))
        wait_until(lambda: not clients())
    except TimeoutError:
        actors = [str(ref) for ref in pykka.ActorRegistry.get_all()]
        threads = [thread.name for thread in _new_threads(threads_before)]
        connections = list(clients().values())
        pykka.ActorRegistry.stop_all(block=True, timeout=5)
        pytest.fail(f"left behind: actors {actors}, threads {threads}, connections {connections}")


def _new_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in before]


def _clients(config: pytest.Config) -> dict[int, str]:
    """Return the clients of the worker's server by their process; none before it is started."""
    onlooker = config.stash.get(ONLOOKER, None)
    return {} if onlooker is None else onlooker.clients()
