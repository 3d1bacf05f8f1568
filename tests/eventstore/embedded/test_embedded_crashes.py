"""An embedded server after kills: of the server, of its starter, of half a start."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from eventstore.embedded import EmbeddedServer
from eventstore.model.errors import StorageUnavailableError
from tests.support.pgserver import ServerUser, TestServer, prepare
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def victim() -> Iterator[TestServer]:
    with TestServer() as server, server.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        yield server


def kept(server: TestServer) -> object:
    with server.connect() as connection:
        return connection.execute("SELECT answer FROM kept").fetchone()


def test_a_killed_server_starts_again_at_once_with_all_its_data(victim: TestServer) -> None:
    """G5: what was committed survives `kill -9` of the server, every time."""
    for _ in range(3):
        killed = victim.pid
        os.kill(killed, signal.SIGKILL)
        victim.start()  # at once: the killed one's backends are still ending
        assert victim.pid != killed
        assert kept(victim) == (42,)


def test_every_process_of_a_server_killed_at_once(victim: TestServer) -> None:
    """G5: the same when nothing of the server could notice."""
    postmaster = psutil.Process(victim.pid)
    for process in [postmaster, *postmaster.children()]:
        process.kill()
    victim.start()
    assert kept(victim) == (42,)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restarted_server_has_all_its_data_and_the_same_address(
    victim: TestServer, mode: TestServer.Mode
) -> None:
    victim.restart(mode)
    assert kept(victim) == (42,)


def test_a_start_waits_for_the_orphans_of_a_killed_server(victim: TestServer) -> None:
    """A frozen backend still has the shared memory; two servers on one folder would ruin it."""
    with victim.connect() as connection:
        orphan = psutil.Process(connection.info.backend_pid)
        orphan.suspend()
        os.kill(victim.pid, signal.SIGKILL)
        with pytest.raises(StorageUnavailableError, match="neither answers nor ends"):
            EmbeddedServer.start(victim.path, timeout=0.5)
        orphan.resume()
        victim.start()
    assert kept(victim) == (42,)


def test_a_stale_pid_that_belongs_to_somebody_else_now_does_not_block_the_start(
    victim: TestServer,
) -> None:
    """Pids are used again, and a zombie keeps one: only a connection proves life."""
    killed = victim.pid
    victim.kill9_postmaster()
    socket_folder = str(psycopg.conninfo.conninfo_to_dict(victim.dsn)["host"])
    for lock in (victim.path / "pgdata/postmaster.pid", Path(socket_folder, ".s.PGSQL.5432.lock")):
        text = lock.read_text()
        assert text.startswith(f"{killed}\n")
        lock.write_text(text.replace(str(killed), str(os.getpid()), 1))
    victim.start()
    assert victim.pid not in {killed, os.getpid()}
    assert kept(victim) == (42,)


def test_a_frozen_server_is_an_error_before_long(victim: TestServer) -> None:
    frozen = psutil.Process(victim.pid)
    frozen.suspend()
    try:
        with pytest.raises(StorageUnavailableError, match=str(frozen.pid)):
            EmbeddedServer.start(victim.path, timeout=0.1)
    finally:
        frozen.resume()
    assert kept(victim) == (42,)


def test_the_last_user_of_a_killed_server_closes_in_peace(tmp_path: Path) -> None:
    server = EmbeddedServer.start(prepare(tmp_path))
    os.kill(server.pid, signal.SIGKILL)
    server.close()
    with EmbeddedServer.start(tmp_path) as again, psycopg.connect(again.dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_half_a_data_folder_is_made_anew(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parent, tmp_path / "pgdata.new")
    with EmbeddedServer.start(tmp_path) as server, psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not (tmp_path / "pgdata.new").exists()


def test_a_starter_killed_in_the_middle_leaves_no_half_server(tmp_path: Path) -> None:
    """Kill it as initdb begins, in the middle, and while the server starts."""
    for moment in ("pgdata.new", "pgdata.new/data/base/1/PG_VERSION", "pgdata/postmaster.pid"):
        home = tmp_path / moment.replace("/", "-")
        starter = ServerUser(home)
        wait_until((home / moment).exists)
        starter.kill9()
        with EmbeddedServer.start(home) as server, psycopg.connect(server.dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert not (home / "pgdata.new").exists()
