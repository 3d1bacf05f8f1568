"""Settings of the server that change while a store runs: no success is reported too early."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore import (
    AppendResult,
    CallerRuntime,
    Config,
    EventData,
    EventStore,
    ExpectedVersion,
    Runtime,
    StorageError,
    StorageUnavailableError,
)
from eventstore.client.targets import registered_runtime
from tests.acceptance.guarantees.conftest import Settings, installed
from tests.support.pgserver import TestServer
from tests.support.standbys import require_standbys
from tests.support.waiting import wait_until

STORE = "kept"
RUNTIMES = pytest.mark.parametrize(
    "runtime", [CallerRuntime, registered_runtime()], ids=["caller", "actors"]
)


def alter_system(server: TestServer, name: str, value: str) -> None:
    """Change a setting of the whole server; return when new sessions have it."""
    with server.connect() as admin:
        alter = sql.SQL("ALTER SYSTEM SET {} = {}")
        admin.execute(alter.format(sql.Identifier(name), value))
        admin.execute("SELECT pg_reload_conf()")
    wait_until(lambda: current(server, name) == value)


def current(server: TestServer, name: str) -> str:
    with server.connect() as admin:
        ((value,),) = admin.execute("SELECT current_setting(%s)", [name])
        return str(value)


def append(store: EventStore, *events: EventData) -> AppendResult:
    return store.append_to_stream("s", ExpectedVersion.ANY, events or [EventData("X", 1)])


@RUNTIMES
def test_commits_that_need_not_be_durable_any_more_are_durable_nevertheless(
    private_server: TestServer, runtime: type[Runtime]
) -> None:
    """F30, G5: synchronous_commit goes off under a running store, then the power."""
    settings = installed(private_server.dsn, STORE)
    alter_system(private_server, "wal_writer_delay", "10s")
    with EventStore.connect(Config(**settings), runtime=runtime) as store:
        append(store)
        alter_system(private_server, "synchronous_commit", "off")
        acknowledged = [append(store).last_version for _ in range(50)][-1]
        private_server.kill9_postmaster()
        private_server.start()
    with EventStore.connect(Config(**settings), runtime=runtime) as store:
        assert store.stream_info("s").stream_version == acknowledged
        assert append(store).last_version == acknowledged + 1


@RUNTIMES
def test_a_server_that_no_longer_reaches_the_disk_is_refused(
    private_server: TestServer, runtime: type[Runtime]
) -> None:
    """F30, G5: fsync goes off under a running store; on again, it goes on."""
    settings = installed(private_server.dsn, STORE)
    with EventStore.connect(Config(**settings), runtime=runtime) as store:
        append(store)
        alter_system(private_server, "fsync", "off")
        with pytest.raises(StorageError, match=r"fsync off.*allow_unsafe_durability") as refused:
            append(store)
        assert not isinstance(refused.value, StorageUnavailableError)
        with pytest.raises(StorageError, match=r"fsync off.*allow_unsafe_durability"):
            EventStore.connect(Config(**settings), runtime=runtime)
        accepting = {**settings, "allow_unsafe_durability": True}
        with EventStore.connect(Config(**accepting), runtime=runtime) as careless:
            assert append(careless).last_version == 2
        alter_system(private_server, "fsync", "on")
        assert append(store).last_version == 3


@RUNTIMES
@pytest.mark.parametrize("level", ["error", "notice"])
def test_a_cancelled_wait_for_a_standby_is_no_success(
    private_server: TestServer, runtime: type[Runtime], level: str
) -> None:
    """F31, G5: the server says it with a warning, which the session has asked not to be told."""
    settings: Settings = installed(private_server.dsn, STORE)
    settings["dsn"] = make_conninfo(settings["dsn"], options=f"-c client_min_messages={level}")
    event = EventData("X", 1)
    with EventStore.connect(Config(**settings), runtime=runtime) as store:
        append(store)
        require_standbys(private_server.dsn, "nobody")
        with private_server.connect() as admin, ThreadPoolExecutor(1) as threads:
            appending = threads.submit(append, store, event)
            wait_until(lambda: cancelled(admin))
            # Asked again with the same ids, the server waits for a standby again.
            wait_until(lambda: waiting(admin) or appending.done())
            assert not appending.done()
            require_standbys(private_server.dsn, "")
            assert appending.result().last_version == 2
        assert append(store).last_version == 3


def waiting(admin: psycopg.Connection) -> list[int]:
    """Return the sessions whose commits wait for a standby."""
    found = admin.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return [pid for (pid,) in found]


def cancelled(admin: psycopg.Connection) -> list[int]:
    """Cancel what waits for a standby; return the sessions."""
    pids = waiting(admin)
    admin.execute("SELECT pg_cancel_backend(pid) FROM unnest(%s::int[]) pid", [pids])
    return pids
