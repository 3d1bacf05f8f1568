"""One embedded server, several users: who starts it, who shares it, who stops it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from eventstore.embedded import EmbeddedServer
from tests.support.pgserver import ServerUser, prepare

pytestmark = pytest.mark.slow

FORKS = """
import os, sys
from eventstore.embedded import EmbeddedServer
server = EmbeddedServer.start(sys.argv[1])
child = os.fork()
if child == 0:
    server.close()
    sys.exit(0)  # not _exit: what runs at the exit of the interpreter must do nothing, too
_, status = os.waitpid(child, 0)
assert status == 0, status
print(server.pid, flush=True)
sys.stdin.readline()
server.close()
"""

FORGETS_TO_CLOSE = """
import sys
from eventstore.embedded import EmbeddedServer
server = EmbeddedServer.start(sys.argv[1])
print(server.pid, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for a server; whatever the test does, no server stays in it."""
    path = prepare(tmp_path / "home")
    yield path
    EmbeddedServer.start(path).close()


def runs(pid: int) -> bool:
    """Tell whether the process has not ended; init may take seconds to reap it, we leave none."""
    try:
        process = psutil.Process(pid)
        assert process.ppid() != os.getpid(), "we are left with a zombie"
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def accepts(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


def test_the_last_user_of_one_process_stops_the_server(home: Path) -> None:
    first = EmbeddedServer.start(home)
    second = EmbeddedServer.start(home)
    assert second.pid == first.pid
    assert second.dsn == first.dsn
    pid = first.pid

    first.close()
    first.close()  # again: nothing happens, and the second user keeps its server
    assert accepts(second.dsn)

    second.close()
    assert not accepts(second.dsn)
    assert not runs(pid)


def test_two_processes_share_a_server_and_the_last_one_stops_it(home: Path) -> None:
    with EmbeddedServer.start(home) as server:
        other = ServerUser(home)
        pid = other.server_pid()
        assert pid == server.pid
    assert accepts(server.dsn), "the other process still uses it"

    assert other.leave() == 0
    assert not accepts(server.dsn)
    assert not runs(pid)


def test_four_processes_that_start_at_once_get_one_server(home: Path) -> None:
    (home / "pgdata").rename(home / "put aside")  # the race begins with initdb
    users = [ServerUser(home) for _ in range(4)]
    pid, *others = [user.server_pid() for user in users]
    assert others == [pid, pid, pid]
    assert [user.leave() for user in users] == [0, 0, 0, 0]
    assert not runs(pid)


def test_threads_that_start_and_close_at_once_leave_nothing(home: Path) -> None:
    def use(_: int) -> tuple[int, str]:
        with EmbeddedServer.start(home) as server, psycopg.connect(server.dsn) as connection:
            connection.execute("SELECT 1")
            return server.pid, connection.info.host

    with ThreadPoolExecutor(4) as pool:
        used = set(pool.map(use, range(12)))
    assert not any(runs(pid) or Path(socket_folder).exists() for pid, socket_folder in used)


def test_a_server_outlives_the_kill_of_its_last_user_and_is_attached_to_again(home: Path) -> None:
    user = ServerUser(home)
    pid = user.server_pid()
    user.kill9()

    with EmbeddedServer.start(home) as server:
        assert server.pid == pid
        assert accepts(server.dsn)
    assert not runs(pid)


def test_a_forked_child_neither_stops_the_server_nor_keeps_it(home: Path) -> None:
    user = ServerUser(home, FORKS)
    pid = user.server_pid()
    assert runs(pid)
    assert user.leave() == 0
    assert not runs(pid)


def test_the_end_of_the_interpreter_closes_what_was_forgotten(home: Path) -> None:
    user = ServerUser(home, FORGETS_TO_CLOSE)
    pid = user.server_pid()
    assert user.leave() == 0
    assert not runs(pid)


def test_the_server_is_out_of_reach_of_the_terminal_and_of_our_locks(home: Path) -> None:
    with EmbeddedServer.start(home) as server:
        assert os.getsid(server.pid) != os.getsid(0), "Ctrl-C would reach it"
        opened = {Path(each.path).name for each in psutil.Process(server.pid).open_files()}
        assert not opened & {"start.lock", "users.lock"}


def test_a_join_during_the_last_close_starts_the_server_again(home: Path) -> None:
    """Whoever comes first, the one that starts ends with a server that runs."""
    for _ in range(3):
        leaving = EmbeddedServer.start(home)
        thread = threading.Thread(target=leaving.close)
        thread.start()
        with EmbeddedServer.start(home) as joining:
            thread.join()
            assert accepts(joining.dsn)
