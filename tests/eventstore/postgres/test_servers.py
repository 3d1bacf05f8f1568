"""Several servers, however the connection string leads to them: one that will do is found."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from eventstore.model.config import Config
from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.connecting.connect_attempt import _MOST
from eventstore.storages.postgres.connecting.servers import Server, addresses, servers
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.support.pgserver import TestServer
from tests.support.proxy import Proxy
from tests.support.waiting import PATIENCE, wait_until

NAME = "two-addresses.test"
SHORT = 12.0
"""Seconds for two servers, the first of which may take half of them."""

LOGIN = "eventstore.storages.postgres.connecting.connect_attempt"

BAD, GOOD = "127.0.0.2", "127.0.0.1"


@pytest.fixture
def good(dsn: str, user: User) -> Iterator[Proxy]:
    """The server of the store, on the second of two addresses."""
    with Proxy(dsn, GOOD) as proxy:
        yield proxy


# ── the first server will not do ─────────────────────────────────────────────────────────────────


@contextmanager
def closed(_port: int) -> Iterator[None]:
    """Nobody listens on the first address."""
    yield


@contextmanager
def silent(port: int) -> Iterator[None]:
    """Somebody takes the connection and says nothing."""
    with socket.create_server((BAD, port)):
        yield


# ── the ways to say that there are two ───────────────────────────────────────────────────────────


def without(dsn: str, *options: str) -> str:
    given: dict[str, Any] = {**conninfo_to_dict(dsn)}
    return make_conninfo(**{name: given[name] for name in given if name not in options})


def by_hosts(base: str, port: int, _folder: Path, _patch: pytest.MonkeyPatch) -> str:
    return make_conninfo(base, host=f"{BAD},{GOOD}", port=port)


def by_addresses(base: str, port: int, _folder: Path, _patch: pytest.MonkeyPatch) -> str:
    return make_conninfo(base, hostaddr=f"{BAD},{GOOD}", port=f"{port},{port}")


def by_service(base: str, port: int, folder: Path, patch: pytest.MonkeyPatch) -> str:
    file = folder / "services.conf"
    file.write_text(f"[both]\nhost={BAD},{GOOD}\nport={port}\n")
    patch.setenv("PGSERVICEFILE", str(file))
    return make_conninfo(base, service="both")


def by_environment(base: str, port: int, _folder: Path, patch: pytest.MonkeyPatch) -> str:
    patch.setenv("PGHOST", f"{BAD},{GOOD}")
    patch.setenv("PGPORT", str(port))
    return base


def by_name(base: str, port: int, _folder: Path, patch: pytest.MonkeyPatch) -> str:
    resolve(patch, lambda: [BAD, GOOD])
    return make_conninfo(base, host=NAME, port=port)


WAYS = [by_hosts, by_addresses, by_service, by_environment, by_name]


def resolve(patch: pytest.MonkeyPatch, answer: Callable[[], list[str]]) -> None:
    """Let a resolver of the test's own answer for one name."""
    real = socket.getaddrinfo

    def resolved(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host != NAME:
            return real(host, port, *rest, **more)
        return [found for each in answer() for found in real(each, port, *rest, **more)]

    patch.setattr(socket, "getaddrinfo", resolved)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", [closed, silent])
def test_the_second_server_is_found(
    config: Config,
    good: Proxy,
    way: Callable[..., str],
    fault: Callable[[int], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F38, G25: the first one is closed, or takes the connection and stays silent."""
    base = without(good.dsn, "host", "port")
    dsn = way(base, good.port, tmp_path, monkeypatch)
    with fault(good.port), ExitStack() as closing:
        storage = PostgresStorage(replace(config, dsn=dsn))
        closing.callback(storage.close)
        storage.open(init=False, deadline=time.monotonic() + SHORT)
        assert fault is silent or storage.stream_count(soon()) == 0


@pytest.mark.parametrize(
    "setting",
    [
        "default_transaction_read_only = on",
        "max_connections = 7",
    ],
)
def test_a_server_that_refuses_does_not_hide_one_that_takes_us(
    config: Config, good: Proxy, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F37, F38: a standby; a server that has neither our database nor our role."""
    name, value = setting.split(" = ")
    dsn = by_hosts(make_conninfo(good.dsn, user="only_here"), good.port, tmp_path, monkeypatch)
    with (
        psycopg.connect(config.dsn, autocommit=True) as here,
        TestServer({name: value}) as elsewhere,
        Proxy(elsewhere.dsn, BAD, good.port),
    ):
        here.execute("CREATE ROLE only_here LOGIN SUPERUSER")
        try:
            storage = PostgresStorage(replace(config, dsn=dsn))
            storage.open(init=False, deadline=soon())
            storage.close()
        finally:
            wait_until(lambda: not _sessions(here, "only_here"))
            here.execute("DROP ROLE only_here")


def _sessions(connection: psycopg.Connection[Any], role: str) -> list[Any]:
    statement = "SELECT 1 FROM pg_stat_activity WHERE usename = %s"
    return connection.execute(statement, [role]).fetchall()


def test_a_refusal_is_lasting_only_if_every_server_refuses(config: Config, good: Proxy) -> None:
    """F37: one that is down may be the one that would take us; an address is no server."""
    wrong = make_conninfo(good.dsn, dbname="no_such_database")
    for host, kind in ((f"{BAD},{GOOD}", StorageUnavailableError), (GOOD, StorageError)):
        storage = PostgresStorage(replace(config, dsn=make_conninfo(wrong, host=host)))
        with pytest.raises(StorageError, match="no_such_database") as refused:
            storage.open(init=False, deadline=soon())
        assert type(refused.value) is kind
        storage.close()


def test_an_address_that_is_closed_hides_no_refusal(
    config: Config, good: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F37: as ``localhost`` often has two addresses, and a server listens on one of them."""
    resolve(monkeypatch, lambda: [BAD, GOOD])
    dsn = make_conninfo(good.dsn, host=NAME, dbname="no_such_database")
    storage = PostgresStorage(replace(config, dsn=dsn))
    with pytest.raises(StorageError, match="no_such_database") as refused:
        storage.open(init=False, deadline=soon())
    assert not refused.value.retryable
    storage.close()


# ── which servers there are ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("host=a,b port=1", [("a", "", "1"), ("b", "", "1")]),
        ("host=a,b port=1,2", [("a", "", "1"), ("b", "", "2")]),
        ("host=a,b hostaddr=1.1.1.1,2.2.2.2", [("a", "1.1.1.1", "5432"), ("b", "2.2.2.2", "5432")]),
        ("hostaddr=1.1.1.1,::1 port=,3", [("", "1.1.1.1", "5432"), ("", "::1", "3")]),
        ("host=/run/a,/run/b", [("/run/a", "", "5432"), ("/run/b", "", "5432")]),
        ("postgresql://a:1,[::1]:2/d", [("a", "", "1"), ("::1", "", "2")]),
    ],
)
def test_the_servers_are_those_of_libpq(
    dsn: str, expected: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F38."""
    monkeypatch.delenv("PGPORT", raising=False)
    assert servers(dsn) == [Server(*each) for each in expected]


def test_the_order_is_random_if_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """F38: as libpq has it, of servers and of the addresses of one."""
    dsn = f"host={','.join(map(str, range(50)))} load_balance_hosts=random"
    try:
        first, second = servers(dsn), servers(dsn)
    except psycopg.ProgrammingError:
        pytest.skip("libpq is older than this option")
    assert first != second
    assert set(first) == set(second)
    resolve(monkeypatch, lambda: [f"127.0.0.{number}" for number in range(1, 51)])
    name = replace(first[0], host=NAME)
    assert addresses(name) != addresses(name)
    assert addresses(replace(name, in_random_order=False)) == sorted(
        addresses(replace(name, in_random_order=False)), key=lambda a: int(a.hostaddr[8:])
    )


def test_what_is_no_name_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """F45: an address, the folder of a socket."""
    monkeypatch.setattr(socket, "getaddrinfo", None)
    for host, hostaddr in (("/run", ""), ("::1", "::1"), ("10.0.0.1", "10.0.0.1"), ("", "")):
        assert addresses(Server(host, "", "1")) == [Server(host, hostaddr, "1")]
    assert addresses(Server("name", "::2", "1")) == [Server("name", "::2", "1")]


@pytest.mark.parametrize(
    "dsn",
    [
        "host=h sslmode=hunter2",
        "host=h target_session_attrs=hunter2",
        "host=h port=hunter2",
        "host=h port=0",
        "host=h port=65536",
        "host=a,b port=1,2,3",
        "host=a,b hostaddr=::1",
        "service=hunter2",
    ],
)
def test_what_can_never_connect_is_refused_before_it_is_tried(dsn: str) -> None:
    """F37, F39: and the value, which may be a piece of a password, is not shown."""
    for name, config in (("dsn", Config(dsn)), ("listen_dsn", Config("host=h", listen_dsn=dsn))):
        with pytest.raises(ValueError, match=rf"^{name} cannot be used: ") as refused:
            PostgresStorage(config)
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("fault", [RuntimeError("can't start new thread"), MemoryError()])
def test_whatever_keeps_it_from_connecting_was_before_the_append(
    config: Config, user: User, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """F36, G25: unavailable, not unknown."""

    def fail(*_: object, **__: object) -> None:
        raise fault

    storage = PostgresStorage(config)
    target = "threading.Thread.start" if isinstance(fault, RuntimeError) else f"{LOGIN}.log_in"
    with monkeypatch.context() as patch:
        patch.setattr(target, fail)
        for _ in range(2 * _MOST):
            with pytest.raises(StorageUnavailableError, match="cannot connect"):
                storage.append_session().append([], soon())
    storage.append_session().append([], soon())
    storage.close()


# ── a resolver that never answers ────────────────────────────────────────────────────────────────


def attempts() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "eventstore-connect"]


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that answers when the event is set."""
    answers = threading.Event()

    def answer() -> list[str]:
        answers.wait(PATIENCE)
        return [GOOD]

    resolve(monkeypatch, answer)
    yield answers
    answers.set()
    wait_until(lambda: not attempts())


def test_a_resolver_that_never_answers_costs_a_bounded_number_of_threads(
    config: Config, good: Proxy, stuck: threading.Event
) -> None:
    """F45, G25: every call ends at its deadline, and all go on when it answers again."""
    with closing(PostgresStorage(replace(config, dsn=make_conninfo(good.dsn, host=NAME)))) as away:
        appender, keeper = away.append_session(), away.keeper_session()
        for _ in range(2 * _MOST):
            for call in (
                lambda until: away.open(init=False, deadline=until),
                lambda until: appender.append([], until),
                lambda until: keeper.look([1], until),
                away.stream_count,
            ):
                with pytest.raises(StorageUnavailableError):
                    call(time.monotonic() + 0.02)
        assert 0 < len(attempts()) <= _MOST
        with pytest.raises(StorageUnavailableError, match="name resolution"):
            away.open(init=False, deadline=soon())
        stuck.set()
        wait_until(lambda: not attempts())
        away.open(init=False, deadline=soon())
        assert away.stream_count(soon()) == 0
