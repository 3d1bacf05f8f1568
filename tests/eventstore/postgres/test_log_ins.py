"""A server that does not let us in: told at once, by its code, and not asked again and again."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from eventstore import CallerRuntime, Config, EventStore
from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.admin.database import create_database
from eventstore.storages.postgres.connecting import login
from eventstore.storages.postgres.connecting.connect_attempt import Refusals
from eventstore.storages.postgres.connecting.servers import Server
from tests.conformance.conftest import soon
from tests.support.cli import Shell
from tests.support.guarded import Guarded
from tests.support.pooler import PROGRAM, Pooler

LASTING: dict[str, dict[str, str | None]] = {
    "wrong password": {"password": "hunter2"},
    "no password": {"password": None},
    "no such role": {"user": "nobody_here"},
    "a role that may not log in": {"user": "retired"},
    "no such database": {"dbname": "nowhere"},
    "a database that is closed to the role": {"dbname": "closed"},
}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with closing(Guarded()) as guarded:
        guarded("CREATE ROLE retired NOLOGIN")
        guarded("CREATE DATABASE closed")
        guarded("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
        config = Config(guarded.dsn)
        EventStore.connect(config, runtime=CallerRuntime, init=True).close()
        yield guarded


@pytest.fixture(params=LASTING)
def denied(guarded: Guarded, request: pytest.FixtureRequest) -> str:
    """A connection string that the server refuses."""
    changed = LASTING[request.param]
    given: dict[str, Any] = {**conninfo_to_dict(guarded.dsn), **changed}
    return make_conninfo(**{name: given[name] for name in given if given[name] is not None})


@pytest.mark.parametrize("runtime", [None, CallerRuntime])
def test_a_denial_is_told_at_once_and_costs_one_log_in(
    guarded: Guarded, denied: str, runtime: type[CallerRuntime] | None
) -> None:
    """F37: waiting does not help, and accounts are locked after a few failures."""
    before = guarded.log_ins()
    with pytest.raises(StorageError, match="cannot connect") as refused:
        EventStore.connect(Config(denied), runtime=runtime)
    assert type(refused.value) is StorageError
    assert not refused.value.retryable
    assert isinstance(refused.value.__cause__, psycopg.Error)
    assert refused.value.__cause__.sqlstate in {"28P01", "28000", "3D000", "42501"}
    assert "hunter2" not in f"{refused.value!r} {refused.value.__cause__!r}"
    # A client that has no password ends the log-in itself.
    assert guarded.log_ins() - before <= 1


def test_the_command_line_says_so_once(guarded: Guarded) -> None:
    """F37: refused, not away."""
    wrong = make_conninfo(guarded.dsn, password="hunter2")
    before = guarded.log_ins()
    for command in (["status"], ["create"], ["drop", "--yes", "--database"]):
        complaint = Shell(wrong).refused(*command, code=1)
        assert "password authentication failed" in complaint
        assert "hunter2" not in complaint
    assert guarded.log_ins() - before == 3


def test_a_role_that_may_not_create_is_told_so(guarded: Guarded) -> None:
    """F37: it is let in, and still told at once."""
    with pytest.raises(StorageError, match="permission denied") as refused:
        create_database(make_conninfo(guarded.dsn, dbname="another"), 60)
    assert not refused.value.retryable


def test_a_limit_of_connections_is_no_denial(guarded: Guarded) -> None:
    """F37, F35, G25: its refusal has a code, too, and passes."""
    guarded("CREATE ROLE limited LOGIN CONNECTION LIMIT 0")
    storage = PostgresStorage(Config(make_conninfo(guarded.dsn, user="limited")))
    with pytest.raises(StorageUnavailableError, match="too many connections") as refused:
        storage.open(init=False, deadline=soon())
    assert isinstance(refused.value.__cause__, psycopg.errors.TooManyConnections)
    storage.close()


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")
def test_a_pooler_in_statement_mode_is_refused_with_the_reason(guarded: Guarded) -> None:
    """F37: nothing works through it, now or later."""
    with Pooler(guarded.server.dsn, mode="statement") as pooler:
        for runtime in (None, CallerRuntime):
            with pytest.raises(StorageError, match="statement mode") as refused:
                EventStore.connect(Config(pooler.dsn), runtime=runtime)
            assert not refused.value.retryable


# ── pauses ───────────────────────────────────────────────────────────────────────────────────────

HERE, THERE = Server("a", "", "1"), Server("b", "", "1")
WRONG = psycopg.errors.InvalidPassword("wrong")


def test_the_pauses_grow_up_to_a_bound_and_end_with_a_log_in() -> None:
    """F36, F37: each server by itself."""
    refusals, now, pauses = Refusals(), 100.0, []
    for _ in range(8):
        refusals.note(HERE, WRONG, now)
        refusals.note(HERE, WRONG, now)
        refusals.check(THERE, now)
        start = now
        while is_paused(refusals, now):
            now += 0.25
        pauses.append(now - start)
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    refusals.note(HERE, WRONG, now)
    refusals.forget(HERE)
    refusals.check(HERE, now)


def is_paused(refusals: Refusals, now: float) -> bool:
    try:
        refusals.check(HERE, now)
    except psycopg.errors.InvalidPassword as error:
        return str(error) == "wrong"
    return False


def test_many_who_want_in_cost_few_log_ins(guarded: Guarded) -> None:
    """F36, F37: a password that was changed under a running store locks no account."""
    storage = PostgresStorage(Config(guarded.dsn))
    storage.open(init=False, deadline=soon())
    appender, keeper = storage.append_session(), storage.keeper_session()
    try:
        guarded(sql.SQL("ALTER ROLE shop PASSWORD {}").format("changed"))
        before, until = guarded.log_ins(), time.monotonic() + 2
        while time.monotonic() < until:
            for call in (storage.stream_count, lambda end: keeper.look([1], end)):
                with pytest.raises(StorageUnavailableError):
                    call(time.monotonic() + 0.5)
            with pytest.raises(StorageUnavailableError):
                appender.append([], time.monotonic() + 0.5)
        assert guarded.log_ins() - before <= 8
        guarded("ALTER ROLE shop PASSWORD 'correct horse'")
        assert storage.stream_count(soon()) == 0
    finally:
        guarded("ALTER ROLE shop PASSWORD 'correct horse'")
        storage.close()


def test_a_denial_takes_no_connection_from_readers(guarded: Guarded) -> None:
    """F35, F36: those that are open go on; nobody is let in in their place."""
    storage = PostgresStorage(Config(guarded.dsn))
    storage.open(init=False, deadline=soon())
    backend = storage._pool.run(lambda c: c.raw.info.backend_pid, soon(), "asking")
    guarded("ALTER ROLE shop NOLOGIN")
    try:
        with pytest.raises(StorageUnavailableError, match="not permitted to log in"):
            storage.append_session().append([], time.monotonic() + 5)
        assert storage._pool.run(lambda c: c.raw.info.backend_pid, soon(), "asking") == backend
    finally:
        guarded("ALTER ROLE shop LOGIN")
        storage.close()


# ── what the server says ─────────────────────────────────────────────────────────────────────────


def test_the_code_is_found_in_any_language() -> None:
    """F37: a server speaks the language of its administrator."""
    fields = (
        b"SSCHWERWIEGEND\0VFATAL\0C28P01\0"
        b"MPasswort-Authentifizierung f\xc3\xbcr Benutzer \xc2\xbbshop\xc2\xab fehlgeschlagen\0"
        b"Fauth.c\0L326\0Rauth_failed\0\0"
    )
    with answering(b"E" + struct.pack("!i", 4 + len(fields)) + fields) as port:
        dsn = f"host=127.0.0.1 port={port} user=shop password=x sslmode=disable"
        with pytest.raises(psycopg.errors.InvalidPassword) as refused:
            login.log_in(dsn, soon())
    assert "FATAL" not in str(refused.value)
    assert str(refused.value).endswith(
        "SCHWERWIEGEND:  Passwort-Authentifizierung für Benutzer »shop« fehlgeschlagen"
    )


def test_later_errors_say_as_much_as_usual(guarded: Guarded) -> None:
    """F37: the code is wanted of the log-in alone."""
    pgconn = login.log_in(guarded.dsn, soon())
    assert pgconn.exec_(b"SELECT nothing").error_message.startswith(b"ERROR:  column")
    pgconn.finish()


def test_without_the_code_it_is_unavailable(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F37: a libpq in which the function is not found; nothing is guessed from words."""
    monkeypatch.setattr(login, "_set_verbosity", None)
    storage = PostgresStorage(Config(make_conninfo(guarded.dsn, password="hunter2")))
    with pytest.raises(StorageUnavailableError, match="password authentication failed"):
        storage.open(init=False, deadline=soon())
    storage.close()


class answering:  # noqa: N801 - used as a block
    """Somebody on loopback who answers the first message with these bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        port: int = self._listening.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        client, _ = self._listening.accept()
        with client:
            client.recv(4096)
            client.sendall(self._answer)
