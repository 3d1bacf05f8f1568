"""Where a listener hears is proved, and where it reads does not depend on it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.ports.listening import Heard
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.head_listener import PostgresHeadListener
from eventstore.storages.postgres.statements import channel_of
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql
from tests.support.cluster import Cluster
from tests.support.pgserver import TestServer
from tests.support.pooler import PROGRAM, Pooler
from tests.support.proxy import Proxy
from tests.support.waiting import AGES, PATIENCE, wait_until

POLL = 0.2

Listen = Callable[..., PostgresHeadListener]


@pytest.fixture
def listen(config: Config, storage: PostgresStorage) -> Iterator[Listen]:
    """Listen to the store of the test; keywords replace settings."""
    with ExitStack() as closing:

        def listen(**settings: Any) -> PostgresHeadListener:
            another = PostgresStorage(replace(config, **settings))
            closing.callback(another.close)
            listener = another.head_listener()
            assert isinstance(listener, PostgresHeadListener)
            return listener

        yield listen


@pytest.fixture
def role(dsn: str, schema: str) -> Iterator[str]:
    """A role that may connect, and nothing else."""
    name = f"{schema}_ears"
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        yield name
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def elsewhere(dsn: str, schema: str, config: Config) -> Iterator[str]:
    """Another database of the server, with a store in the same schema."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(schema)))
        try:
            there = make_conninfo(dsn, dbname=schema)
            storage = PostgresStorage(replace(config, dsn=there))
            storage.open(init=True, deadline=soon())
            storage.close()
            yield there
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} (FORCE)").format(sql.Identifier(schema)))


def poll_until(
    listener: PostgresHeadListener, condition: Callable[[Heard], object], *, within: float = POLL
) -> Heard:
    """Wait for news again and again until *condition*."""
    heard: list[Heard] = []

    def heard_it() -> object:
        # On a busy machine a look may take longer than it may.
        with suppress(StorageUnavailableError):
            heard.append(listener.wait(within))
            return condition(heard[-1])
        return False

    wait_until(heard_it)
    return heard[-1]


def is_decided(listener: PostgresHeadListener) -> bool:
    """Return whether a proof was tried, with whatever result."""
    return listener.listening or listener._ears.trouble is not None


def announce(psql: Psql, schema: str, text: str = "e") -> None:
    psql("SELECT pg_notify(%s, %s)", channel_of(schema), text)


# ── what is read comes from dsn ──────────────────────────────────────────────────────────────────


def test_what_happens_in_the_database_of_listen_dsn_is_never_read(
    listen: Listen, config: Config, elsewhere: str, user: User, schema: str
) -> None:
    """F3, G34: heads, events and touched subscriptions are those of dsn."""
    listener = listen(listen_dsn=elsewhere)
    assert listener.wait(PATIENCE).head == 0
    old = PostgresStorage(replace(config, dsn=elsewhere))
    old_user = User(old)
    old_user.store("a", 3)
    with psycopg.connect(elsewhere, autocommit=True) as there:
        there.execute("SELECT pg_notify(%s, 'e')", [channel_of(schema)])

    heard = poll_until(listener, lambda heard: heard.deaf)

    assert heard.head == 0
    assert listener.read_all(0, 10, 10**6, soon()) == []
    user.store("b")
    assert poll_until(listener, lambda heard: heard.head).head == 1
    assert [event.stream_id for event in listener.read_all(0, 10, 10**6, soon())] == ["b"]
    assert not listener.listening
    old_user.close()
    old.close()


def test_a_database_without_the_store_is_not_listened_to(
    listen: Listen, dsn: str, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    """F3, G23, G32: it is said once, and new events are found by polling."""
    with caplog.at_level(logging.WARNING):
        listener = listen(listen_dsn=make_conninfo(dsn, dbname="template1"))
        poll_until(listener, lambda _: "LISTEN is deaf" in caplog.text, within=1)
        user.store("b")
        assert poll_until(listener, lambda heard: heard.head).deaf
    assert caplog.text.count("LISTEN is deaf") == 1
    assert "listen_dsn" in caplog.text


def test_ears_need_no_right_in_the_schema(listen: Listen, dsn: str, role: str, other: User) -> None:
    """F3, G23: a role that may connect hears what the other one reads."""
    listener = listen(listen_dsn=make_conninfo(dsn, user=role))
    poll_until(listener, lambda heard: not heard.deaf)
    other.store("a")
    other.announce()
    began = time.monotonic()
    assert poll_until(listener, lambda heard: heard.head, within=AGES).head == 1
    assert time.monotonic() - began < PATIENCE


def test_the_proof_is_made_again_for_another_server(schema: str) -> None:
    """F3, G23: dsn follows a moved database; the old one can still be listened to."""
    with TestServer() as first, TestServer() as second, Proxy(first.dsn) as network:
        for server in (first, second):
            storage = PostgresStorage(Config(server.dsn, schema=schema))
            storage.open(init=True, deadline=soon())
            storage.close()
        storage = PostgresStorage(Config(network.dsn, schema=schema, listen_dsn=first.dsn))
        listener = storage.head_listener()
        assert isinstance(listener, PostgresHeadListener)
        poll_until(listener, lambda heard: not heard.deaf)

        network.lead_to(second.dsn)

        poll_until(listener, lambda heard: heard.deaf)
        network.lead_to(first.dsn)
        poll_until(listener, lambda heard: not heard.deaf)
        storage.close()


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pooler_is_heard_through_in_session_mode_alone(
    listen: Listen, dsn: str, user: User, mode: str
) -> None:
    """F5, G23: whichever of the two leads through it, or both."""
    with Pooler(dsn, sessions=8, mode=mode) as pooler:
        for settings in (
            {"dsn": pooler.dsn},
            {"listen_dsn": pooler.dsn},
            {"dsn": pooler.dsn, "listen_dsn": pooler.dsn},
        ):
            listener = listen(**settings)
            listener.wait(PATIENCE)
            heard = poll_until(listener, lambda _, each=listener: is_decided(each), within=1)  # type: ignore[misc]
            assert heard.deaf is (mode == "transaction")
            listener.close()


# ── ears that cannot be had ──────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["closed port", "unknown role", "no slot", "black hole", "no database"])
def unreachable(
    request: pytest.FixtureRequest, dsn: str, role: str, psql: Psql
) -> Iterator[tuple[str, Callable[[], object]]]:
    """A connection string that leads nowhere, and what makes it lead to the store."""
    name = sql.Identifier(role).as_string(None)
    with Proxy(dsn) as network:
        match request.param:
            case "closed port":
                network.refuse()
                yield network.dsn, network.accept
            case "unknown role":
                psql(f"ALTER ROLE {name} NOLOGIN")
                yield make_conninfo(dsn, user=role), lambda: psql(f"ALTER ROLE {name} LOGIN")
            case "no slot":
                psql(f"ALTER ROLE {name} CONNECTION LIMIT 0")
                yield (
                    make_conninfo(dsn, user=role),
                    lambda: psql(f"ALTER ROLE {name} CONNECTION LIMIT 1"),
                )
            case "black hole":
                network.swallow()
                yield network.dsn, network.pass_on
            case _:
                missing = make_conninfo(network.dsn, dbname="nowhere")
                yield missing, lambda: None


def test_polling_goes_on_where_nothing_can_be_listened_to(
    request: pytest.FixtureRequest,
    listen: Listen,
    unreachable: tuple[str, Callable[[], object]],
    other: User,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F4, G23, G32: it is said once; as soon as LISTEN works again, it is used."""
    listen_dsn, mend = unreachable
    with caplog.at_level(logging.WARNING):
        listener = listen(listen_dsn=listen_dsn, connect_timeout=1.0)
        heard = listener.wait(PATIENCE)
        assert (heard.head, heard.reconnected, heard.deaf) == (0, True, True)
        for number in range(1, 4):
            other.store("a")
            began = time.monotonic()
            assert poll_until(listener, lambda _: True).deaf
            assert time.monotonic() - began < POLL + PATIENCE
            assert poll_until(listener, lambda heard, n=number: heard.head == n).head == number  # type: ignore[misc]
        poll_until(listener, lambda _: "LISTEN is deaf" in caplog.text)
    assert caplog.text.count("LISTEN is deaf") == 1
    mend()
    if "no database" not in request.node.name:
        poll_until(listener, lambda heard: not heard.deaf)
        other.store("a")
        other.announce()
        assert poll_until(listener, lambda heard: heard.head == 4, within=AGES).head == 4


def test_a_connection_of_its_own_is_no_condition_for_polling(
    config: Config, dsn: str, role: str, psql: Psql, user: User, schema: str
) -> None:
    """F4, G23: the last slot of the role is taken; what the readers have is enough."""
    name = sql.Identifier(role).as_string(None)
    psql(f"GRANT USAGE ON SCHEMA {{}} TO {name}")
    psql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {{}} TO {name}")
    as_role = make_conninfo(dsn, user=role)
    storage = PostgresStorage(replace(config, dsn=as_role))
    with lent_pool(as_role) as pool:
        crowded = PostgresStorage(replace(config, dsn=as_role), pool=pool)
        psql(f"ALTER ROLE {name} CONNECTION LIMIT 1")
        listener = crowded.head_listener()
        assert isinstance(listener, PostgresHeadListener)
        heard = listener.wait(PATIENCE)
        assert (heard.head, heard.reconnected, heard.deaf) == (0, True, True)
        user.store("a")
        assert poll_until(listener, lambda heard: heard.head == 1).deaf
        assert [event.position for event in listener.read_all(0, 10, 10**6, soon())] == [1]
        psql(f"ALTER ROLE {name} CONNECTION LIMIT 2")
        poll_until(listener, lambda heard: not heard.deaf)
        crowded.close()
    storage.close()
    psql(f"REVOKE ALL ON ALL TABLES IN SCHEMA {{}} FROM {name}")
    psql(f"REVOKE ALL ON SCHEMA {{}} FROM {name}")


@contextmanager
def lent_pool(dsn: str) -> Iterator[object]:
    """A pool of a service that has one connection, and keeps it."""
    with ConnectionPool(dsn, min_size=1, max_size=1, open=True) as pool:
        pool.wait()
        yield pool


def test_a_black_hole_behind_the_ears_delays_no_look(listen: Listen, dsn: str, other: User) -> None:
    """F4, G23: also one that begins while they hear."""
    with Proxy(dsn) as network:
        listener = listen(listen_dsn=network.dsn)
        poll_until(listener, lambda heard: not heard.deaf)
        network.swallow()
        for number in range(1, 4):
            other.store("a")
            assert poll_until(listener, lambda heard, n=number: heard.head == n).head == number  # type: ignore[misc]


def test_a_look_may_take_as_long_as_a_connect(
    listen: Listen, config: Config, other: User, dsn: str
) -> None:
    """G23, G25: a slow link is no dead one."""
    with Proxy(dsn) as network:
        listener = listen(dsn=network.dsn, connect_timeout=AGES)
        assert listener.wait(PATIENCE).reconnected
        other.store("a")
        network.delay(1.6)
        heard = listener.wait(POLL)
        assert (heard.head, heard.reconnected, heard.deaf) == (1, False, False)
        network.delay(0)


# ── what is a proof ──────────────────────────────────────────────────────────────────────────────


def test_a_wake_up_during_the_probe_is_no_deafness(listen: Listen, dsn: str) -> None:
    """F5, G23: only silence is."""
    with Proxy(dsn) as network, ExitStack() as ending:
        network.delay(0.1)
        listener = listen(listen_dsn=network.dsn)
        ended = threading.Event()
        waking = threading.Thread(target=wake_often, args=[listener, ended])
        ending.callback(waking.join)
        ending.callback(ended.set)
        waking.start()
        heard = poll_until(listener, lambda _: is_decided(listener), within=5)
        assert not heard.deaf


def wake_often(listener: PostgresHeadListener, ended: threading.Event) -> None:
    while not ended.wait(0.005):
        listener.wake()


# ── what strangers say ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["s1", "s" + ",".join(["9" * 18] * 400), "p" + "0" * 36])
def test_what_is_forged_never_fills_the_memory(
    listen: Listen, psql: Psql, schema: str, text: str
) -> None:
    """F1, F2, G22: it costs a look, or nothing."""
    listener = listen()
    listener.wait(PATIENCE)
    psql("SELECT pg_notify(%s, %s || n) FROM generate_series(1, 2000) n", channel_of(schema), text)
    heard = poll_until(listener, lambda _: True)
    assert len(heard.touched) <= 20_000
    assert heard.head == 0


def test_two_looks_for_nothing_have_a_pause_between_them(
    listen: Listen, psql: Psql, schema: str
) -> None:
    """F1, G22: whoever shouts takes no processor, neither ours nor the server's."""
    listener = listen()
    listener.wait(PATIENCE)
    announce(psql, schema)
    assert listener.wait(AGES).head == 0
    began = time.monotonic()
    for _ in range(200):
        announce(psql, schema)
        assert listener.wait(AGES).head == 0
    # All of them together: one that returns late leaves less time until the next.
    assert time.monotonic() - began >= 199 * 0.005


def test_a_process_id_given_to_another_backend_is_heard(
    storage: PostgresStorage, psql: Psql, schema: str
) -> None:
    """G23: a server that was restarted counts from the beginning again."""
    listener = storage.head_listener()
    listener.wait(PATIENCE)
    storage._own.announcing = {psql.connection.info.backend_pid}
    assert isinstance(listener, PostgresHeadListener)
    assert listener._ears.connection is not None
    psql("SELECT pg_terminate_backend(%s, 5000)", listener._ears.connection.raw.info.backend_pid)
    assert listener.wait(PATIENCE).reconnected
    announce(psql, schema, "s7")
    assert listener.wait(AGES).touched == {7}
    listener.close()


def test_a_text_in_another_encoding_is_a_hint_like_any_other(
    listen: Listen, dsn: str, schema: str, user: User
) -> None:
    """F2, G23: what the session sends is no UTF-8."""
    listener = listen()
    listener.wait(PATIENCE)
    user.store("a")
    with psycopg.connect(dsn, autocommit=True, client_encoding="latin1") as stranger:
        channel = channel_of(schema).encode()
        stranger.execute(
            b"SELECT pg_notify('" + channel + b"', 's\xe9\xb2' || repeat('\xff', 3900))"
        )
    assert listener.wait(AGES).head == 1


def test_a_standby_cannot_be_listened_to_and_is_not_besieged(
    schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F3, F4, G23: LISTEN is refused there, again and again, with growing pauses."""
    with Cluster() as cluster, caplog.at_level(logging.WARNING):
        standby = cluster.standbys[0]
        config = Config(cluster.primary.dsn, schema=schema)
        listen_dsn = make_conninfo(standby.dsn, target_session_attrs="any")
        storage = PostgresStorage(replace(config, listen_dsn=listen_dsn))
        storage.open(init=True, deadline=soon())
        listener = storage.head_listener()
        assert isinstance(listener, PostgresHeadListener)
        user = User(storage)
        poll_until(listener, lambda _: "LISTEN is deaf" in caplog.text)
        for number in range(1, 6):
            user.store("a")
            assert poll_until(listener, lambda heard, n=number: heard.head == n).deaf  # type: ignore[misc]
        assert "recovery" in caplog.text
        user.close()
        storage.close()
