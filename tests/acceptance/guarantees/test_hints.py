"""A notification is a hint: nothing that is said or not said on the channel decides anything."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore import CallerRuntime, Config, EventData, EventStore, ExpectedVersion
from eventstore.storages.postgres.statements import channel_of
from tests.acceptance.guarantees.conftest import (
    Record,
    Settings,
    Start,
    installed,
    wait_for_checkpoint,
)
from tests.acceptance.guarantees.test_announcing import garbage, stranger
from tests.acceptance.guarantees.test_live_delivery import delay, listening
from tests.support.recorder import Seen
from tests.support.waiting import PATIENCE, wait_until

__all__ = ["stranger"]

NAME = "sub"
POLL = 1.0


def append(store: EventStore, count: int = 1) -> None:
    store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", n) for n in range(count)])


@pytest.fixture
def moved(dsn: str, schema: str, settings: Settings) -> Iterator[Settings]:
    """The same store after its database has moved: it begins anew in another database."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(schema)))
        try:
            yield {**settings, **installed(make_conninfo(dsn, dbname=schema), schema)}
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} (FORCE)").format(sql.Identifier(schema)))


def test_the_database_of_listen_dsn_delivers_nothing(
    settings: Settings, moved: Settings, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    """F3, G13, G15, G34: dsn has moved and listen_dsn has not; the log and health say so."""
    seen = Seen()
    with (
        caplog.at_level(logging.WARNING),
        EventStore.connect(Config(**settings), runtime=CallerRuntime) as old,
        EventStore.connect(Config(**moved), runtime=CallerRuntime) as others,
        EventStore.connect(Config(**moved, listen_dsn=settings["dsn"])) as store,
        psycopg.connect(settings["dsn"], autocommit=True) as somebody,
    ):
        store.subscribe_to_all_streams(NAME, record(seen))
        wait_until(lambda: "LISTEN is deaf" in caplog.text)
        append(old, 3)
        somebody.execute("SELECT pg_notify(%s, 'e')", [channel_of(settings["schema"])])
        for number in range(1, 6):
            append(others)
            assert seen.wait(number) == list(range(1, number + 1))
        true = [event.event_id for event in others.read_all_streams_forward()]
        assert [event.event_id for event in seen.events] == true
        wait_for_checkpoint(store, 5)
        health = store.health()
        assert (health.running, health.database_reachable, health.listening) == (True, True, False)
    assert caplog.text.count("LISTEN is deaf") == 1


def test_where_nothing_can_be_listened_to_events_come_within_the_poll_interval(
    start: Start, settings: Settings, dsn: str, schema: str
) -> None:
    """F4, G23: and by announcement, once it can be."""
    role = sql.Identifier(f"{schema}_ears")
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 0").format(role))
        listen_dsn = make_conninfo(settings["dsn"], user=f"{schema}_ears")
        (writer,) = start(runtime="caller")
        (subscriber,) = start(poll_interval=POLL, listen_dsn=listen_dsn)
        subscriber.do("subscribe", name=NAME).wait("subscribed")
        for _ in range(3):
            assert delay(writer, subscriber) < POLL + PATIENCE
        assert not listening(subscriber)
        admin.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(role))
        wait_until(lambda: listening(subscriber))
        assert delay(writer, subscriber) < POLL + PATIENCE
        subscriber.kill9()
        wait_until(lambda: _is_alone(admin, f"{schema}_ears"))
        admin.execute(sql.SQL("DROP ROLE {}").format(role))


def _is_alone(admin: psycopg.Connection, role: str) -> bool:
    return not admin.execute("SELECT FROM pg_stat_activity WHERE usename = %s", [role]).fetchall()


# ── a flood ──────────────────────────────────────────────────────────────────────────────────────

FLOOD = 10.0
"""Seconds."""
MOST_GROWTH = 64 * 1024 * 1024
"""Bytes; what was said in that time has many times that size."""


@contextmanager
def flood(connection: psycopg.Connection, channel: str, texts: list[str]) -> Iterator[list[int]]:
    """Notify all the time; yield the numbers of notifications sent with each commit."""
    ended, sent = threading.Event(), list[int]()

    def shout() -> None:
        while not ended.is_set():
            connection.execute(
                "SELECT pg_notify(%s::text, t) FROM unnest(%s::text[]) t", [channel, texts]
            )
            sent.append(len(texts))

    thread = threading.Thread(target=shout)
    thread.start()
    try:
        yield sent
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
def test_a_flood_of_forged_announcements_delays_nothing_and_costs_looks_only(
    settings: Settings,
    schema: str,
    observer: EventStore,
    stranger: psycopg.Connection,
    record: Record,
) -> None:
    """F1, F2, G22, G23, G24: by somebody who may connect, and nothing else."""
    seen = Seen()
    texts = [*garbage(random.Random(schema), 190), *(f"s{n}" for n in range(10))]
    with EventStore.connect(Config(**{**settings, "poll_interval": POLL, "lease": 60.0})) as store:
        store.subscribe_to_all_streams(NAME, record(seen))
        wait_until(lambda: store.health().listening and seen.runs)
        append(observer)
        assert seen.wait(1) == [1]
        before = psutil.Process().memory_info().rss
        with flood(stranger, channel_of(schema), texts) as sent:
            until, number = time.monotonic() + FLOOD, 1
            while time.monotonic() < until:
                append(observer)
                number += 1
                assert seen.wait(number, timeout=POLL + PATIENCE) == list(range(1, number + 1))
        assert sum(sent) > number
        assert psutil.Process().memory_info().rss - before < MOST_GROWTH
        health = store.health()
        assert (health.running, health.restarts, health.failure) == (True, 0, None)
        assert health.listening
        assert seen.runs == 1
