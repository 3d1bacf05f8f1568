"""A store whose embedded server dies under it: who starts it again, and what if nobody can."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from eventstore import (
    CallerRuntime,
    Config,
    EventData,
    Events,
    EventStore,
    ExpectedVersion,
    OutcomeUnknownError,
    StorageUnavailableError,
)
from eventstore.embedded import EmbeddedServer
from eventstore.embedded.home import Home
from tests.support.pgserver import ServerUser, prepare
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.slow

USES = """
import sys
from eventstore import EventData, EventStore, ExpectedVersion
from eventstore.embedded.home import Home
with EventStore.connect(f"embedded:{sys.argv[1]}") as store:
    for line in iter(sys.stdin.readline, ""):
        store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", line)], timeout=60)
        print(Home.of(sys.argv[1]).postmaster().pid, flush=True)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for a server; whatever the test does, no server stays in it."""
    path = prepare(tmp_path / "home")
    yield path
    if (path / "pgdata").exists():
        EmbeddedServer.start(path).close()


def postmaster(home: Path) -> psutil.Process:
    found = Home.of(home).postmaster()
    assert found is not None
    return psutil.Process(found.pid)


def kill(home: Path, frozen: psutil.Process | None = None) -> int:
    """Kill the postmaster; return when its orphans have ended, too, which answer for a moment."""
    killed = postmaster(home)
    orphans = [each for each in killed.children() if each != frozen]
    killed.kill()
    _, alive = psutil.wait_procs(orphans, PATIENCE)
    assert alive == []
    return killed.pid


def append(store: EventStore, number: int, timeout: float = 60) -> int:
    event = EventData("X", number)
    result = store.append_to_stream("s", ExpectedVersion.ANY, [event], timeout=timeout)
    assert result.last_global_position is not None
    return result.last_global_position


class Recorder:
    """Remembers what was delivered."""

    def __init__(self) -> None:
        self.data: list[object] = []

    def __call__(self, events: Events) -> None:
        self.data += [event.data for event in events]

    def wait_for(self, count: int) -> list[object]:
        wait_until(lambda: len(self.data) >= count, 2 * PATIENCE)
        return self.data


def test_the_store_starts_its_killed_server_again(home: Path) -> None:
    """F54: appends within their deadline succeed, and subscriptions go on, more than once."""
    recorder = Recorder()
    with EventStore.connect(f"embedded:{home}") as store:
        store.subscribe_to_all_streams("all", recorder)
        append(store, 0)
        assert recorder.wait_for(1) == [0]
        for number in (1, 2):
            killed = kill(home)
            append(store, number)
            assert postmaster(home).pid != killed
            assert recorder.wait_for(number + 1) == list(range(number + 1))


def test_the_same_when_every_process_of_the_server_is_killed(home: Path) -> None:
    """F54: nothing of the server could notice."""
    with EventStore.connect(f"embedded:{home}") as store:
        append(store, 0)
        server = postmaster(home)
        for process in [server, *server.children()]:
            process.kill()
        append(store, 1)
        assert [event.data for event in store.read_all_streams_forward()] == [0, 1]


def test_a_server_that_was_stopped_is_started_again(home: Path) -> None:
    """F54: a stop by hand is as good as a death."""
    with EventStore.connect(f"embedded:{home}") as store:
        append(store, 0)
        postmaster(home).send_signal(signal.SIGINT)
        wait_until(lambda: Home.of(home).postmaster() is None)
        append(store, 1)


def test_an_idle_subscriber_alone_brings_the_server_back(home: Path) -> None:
    """F54: nobody appends here, so that only the listener and the keeper notice."""
    with EventStore.connect(f"embedded:{home}") as store:
        store.subscribe_to_all_streams("all", Recorder())
        killed = kill(home)
        wait_until(lambda: (now := Home.of(home).postmaster()) and now.pid != killed)


def test_a_reading_script_starts_its_server_again(home: Path) -> None:
    """F54: the same for a runtime without actors, by a read and by an append."""
    config = Config(f"embedded:{home}", connect_timeout=60)
    with EventStore.connect(config, runtime=CallerRuntime) as store:
        append(store, 0)
        kill(home)
        assert [event.data for event in store.read_all_streams_forward()] == [0]
        kill(home)
        append(store, 1)


def test_of_two_processes_with_a_dead_server_one_starts_it(home: Path) -> None:
    """F54: both append at once; both go on with the same server."""
    users = [ServerUser(home, USES) for _ in range(2)]

    def pids() -> list[int]:
        for user in users:
            assert user.process.stdin is not None
            user.process.stdin.write("go\n")
            user.process.stdin.flush()
        return [user.server_pid() for user in users]

    for _ in range(2):
        one, other = pids()
        assert one == other
        kill(home)
    one, other = pids()
    assert one == other
    assert [user.leave() for user in users] == [0, 0]
    assert Home.of(home).postmaster() is None


def test_orphans_of_a_dead_server_are_waited_for(home: Path) -> None:
    """F54: a backend that is frozen still has the shared memory, and the lock that says so."""
    with EventStore.connect(f"embedded:{home}") as store:
        append(store, 0)
        with psycopg.connect(store.dsn) as connection:
            orphan = psutil.Process(connection.info.backend_pid)
            orphan.suspend()
            killed = kill(home, orphan)
            with pytest.raises((StorageUnavailableError, OutcomeUnknownError)):
                append(store, 1, timeout=1)
            assert postmaster_pid(home) == killed
            orphan.resume()
        append(store, 2)


def postmaster_pid(home: Path) -> int | None:
    found = Home.of(home).postmaster()
    return None if found is None else found.pid


@pytest.mark.slow
def test_a_server_that_cannot_be_started_is_tried_seldom_and_told_once(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F54: as with a full disk. When the cause is gone, the store goes on by itself."""
    caplog.set_level(logging.WARNING, "eventstore")
    settings = home / "pgdata" / "postgresql.conf"
    good = settings.read_text()

    def attempts() -> int:
        return (home / "server.log").read_text().count("no_such_setting")

    def told() -> list[str]:
        return [text for text in caplog.messages if "cannot be started again" in text]

    with EventStore.connect(Config(f"embedded:{home}")) as store:
        append(store, 0)
        settings.write_text(good + "\nno_such_setting = 1\n")
        began = attempts()
        kill(home)
        with pytest.raises(StorageUnavailableError, match="cannot be started again"):
            append(store, 1, timeout=10)
        # Pauses of 0.5, 1, 2, 4 and 8 s.
        assert 0 < attempts() - began <= 6
        assert len([text for text in told() if "embedded server" in text]) == 1

        settings.write_text(good)
        append(store, 2)
    assert any("was started again" in text for text in caplog.messages)


def test_a_folder_that_is_gone_is_not_created_again(home: Path, tmp_path: Path) -> None:
    """F54: an empty store in its place would be history that went back."""
    with EventStore.connect(f"embedded:{home}") as store:
        append(store, 0)
        aside = home.rename(tmp_path / "aside")
        kill(aside)
        with pytest.raises(StorageUnavailableError, match="were removed or replaced"):
            append(store, 1, timeout=2)
        assert not home.exists()

        prepare(home)  # other data
        with pytest.raises(StorageUnavailableError, match="were removed or replaced"):
            append(store, 1, timeout=2)

        shutil.rmtree(home)
        aside.rename(home)
        append(store, 1)


def fill(server: EmbeddedServer) -> list[psycopg.Connection]:
    """Take every connection that the server has."""
    held = []
    while True:
        try:
            held.append(psycopg.connect(server.dsn))
        except psycopg.OperationalError:
            return held


def test_a_server_without_a_free_connection_is_left_alone(home: Path) -> None:
    """F54: it answers, only not us; a second server on its data would ruin them."""
    with EmbeddedServer.start(home, settings={"max_connections": "6"}) as server:
        pid = server.pid
        with EventStore.connect(f"embedded:{home}", runtime=CallerRuntime) as store:
            held = fill(server)
            with pytest.raises(StorageUnavailableError):
                append(store, 0, timeout=1)
            assert not server.revive()
            for connection in held:
                connection.close()
            append(store, 1)
        assert server.pid == pid


def test_a_store_whose_folder_is_gone_closes_in_peace_and_stops_its_server(home: Path) -> None:
    """F54: nobody could find the server any more."""
    with EventStore.connect(f"embedded:{home}", runtime=CallerRuntime) as store:
        append(store, 0)
        server = postmaster(home)
        shutil.rmtree(home)
    psutil.wait_procs([server], PATIENCE)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


def test_a_store_whose_folder_was_replaced_leaves_the_new_server_alone(
    home: Path, tmp_path: Path
) -> None:
    """F54: it belongs to others."""
    old = EmbeddedServer.start(home)
    kill(home)
    home.rename(tmp_path / "aside")
    with EmbeddedServer.start(prepare(home)) as new:
        old.close()
        with psycopg.connect(new.dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_closed_use_starts_nothing(home: Path) -> None:
    """F54: a late attempt of a store that is being closed must not leave a server behind."""
    server = EmbeddedServer.start(home)
    server.close()
    assert not server.revive()
    assert Home.of(home).postmaster() is None


def test_threads_that_notice_together_start_one_server(home: Path) -> None:
    """F54: writer, keeper, listener and readers lose their connections in one moment."""
    with EmbeddedServer.start(home) as server:
        killed = kill(home)
        with ThreadPoolExecutor(8) as pool:
            revived = list(pool.map(lambda _: server.revive(), range(8)))
        assert revived.count(True) == 1
        assert postmaster_pid(home) != killed
        with psycopg.connect(server.dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_stop_signals_no_process_that_got_the_number_of_the_dead_server(home: Path) -> None:
    """F54: an orphan holds the lock, and the process id in the file is another program's by now."""
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        server = EmbeddedServer.start(home)
        with psycopg.connect(server.dsn) as connection:
            orphan = psutil.Process(connection.info.backend_pid)
            orphan.suspend()
            killed = kill(home, orphan)
            lock = home / "pgdata" / "postmaster.pid"
            lock.write_text(lock.read_text().replace(str(killed), str(bystander.pid), 1))
            with pytest.raises(StorageUnavailableError, match="neither answers nor ends"):
                server.close(timeout=0.5)
            orphan.resume()
        bystander.communicate(b"\n", timeout=PATIENCE)
        assert bystander.returncode == 0
    finally:
        bystander.kill()
        bystander.wait()
