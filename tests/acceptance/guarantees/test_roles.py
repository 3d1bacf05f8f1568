"""The README's grants are enough for what they are said to be for, and for no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore import (
    CallerRuntime,
    Config,
    EventData,
    Events,
    EventStore,
    ExpectedVersion,
    Park,
    Projection,
    SnapshotData,
    StorageUnavailableError,
    SubscriptionNotFoundError,
)
from tests.support.late_answers import expect_late_answers
from tests.support.waiting import PATIENCE, wait_until

README = Path(__file__).parents[3] / "README.md"


@pytest.fixture
def roles(dsn: str, schema: str) -> Iterator[dict[str, Config]]:
    """Install a store, and run the README's grants for it under names of their own."""
    with EventStore.connect(
        Config(dsn=dsn, schema=schema), runtime=CallerRuntime, init=True
    ) as store:
        store.append_to_stream("old", ExpectedVersion.ANY, [EventData("Happened", 1)])
    [grants] = re.findall(r"```sql\n(CREATE ROLE shop_reader.*?)```", README.read_text(), re.DOTALL)
    prefix = f"r{uuid4().hex[:8]}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in filter(str.strip, grants.split(";")):
            connection.execute(
                re.sub(r"\beventstore\b", schema, statement).replace("shop_", f"{prefix}_")
            )
        names = {name: f"{prefix}_{name}" for name in ("reader", "service", "operator")}
        yield {
            name: Config(
                dsn=make_conninfo(dsn, user=role),
                schema=schema,
                append_timeout=3,
                connect_timeout=5,
            )
            for name, role in names.items()
        }
        for role in reversed(names.values()):
            for statement in ("DROP OWNED BY {}", "DROP ROLE {}"):
                connection.execute(sql.SQL(statement).format(sql.Identifier(role)))


def test_a_reader_reads_and_changes_nothing(roles: dict[str, Config]) -> None:
    """G8, G34: reads, lists, sees subscriptions; an append waits for the right, then says so."""
    with EventStore.connect(roles["reader"], runtime=CallerRuntime) as store:
        assert [event.data for event in store.read_all_streams_forward()] == [1]
        assert store.stream_info("old").stream_version == 1
        assert store.subscriptions() == []
        assert store.read_snapshot("old", "Sum") is None
        with pytest.raises(StorageUnavailableError, match="permission denied"):
            store.record_snapshot("old", 1, SnapshotData("Sum", 1))
        with pytest.raises(StorageUnavailableError, match="permission denied"):
            store.append_to_stream("new", ExpectedVersion.ANY, [EventData("Happened", 2)])
        assert store.stream_info("$all").stream_version == 1


def test_a_service_appends_and_subscribes(roles: dict[str, Config]) -> None:
    """G13: checkpoints, pauses and resets, too; it cannot delete a subscription."""
    seen: list[object] = []
    with EventStore.connect(roles["service"]) as store:
        subscription = store.subscribe_to_all_streams(
            "billing", lambda events: seen.extend(event.data for event in events)
        )
        result = store.append_to_stream("new", ExpectedVersion.ANY, [EventData("Happened", 2)])
        subscription.wait_for(result, timeout=PATIENCE)
        assert seen == [1, 2]
        subscription.pause()
        subscription.resume()
        store.reset_subscription("$all", "billing", 1)
        wait_until(lambda: seen == [1, 2, 2])
        with pytest.raises(StorageUnavailableError, match="permission denied"):
            store.delete_subscription("$all", "billing")
        assert store.subscription_info("$all", "billing").head == 2


def test_a_service_parks_events_and_has_them_delivered_again(roles: dict[str, Config]) -> None:
    """G38: it locks the events, and still cannot change them."""
    seen: list[bool] = []

    def handle(events: Events) -> None:
        seen.append(events.replay)
        if not events.replay:
            raise Park("no such product")

    with EventStore.connect(roles["service"]) as store:
        subscription = store.subscribe_to_all_streams("billing", handle)
        wait_until(lambda: subscription.checkpoint == 1)
        assert store.retry_parked("$all", "billing") == 1
        wait_until(lambda: store.parked("$all", "billing") == [])
        assert seen == [False, True]
        schema = sql.Identifier(store.config.schema)
    with psycopg.connect(roles["service"].dsn) as mine:
        change = sql.SQL("UPDATE {}.events SET global_position = 9").format(schema)
        with pytest.raises(psycopg.Error, match="what was stored never changes"):
            mine.execute(change)


def test_a_service_links_and_closes_streams_and_deletes_none_for_good(
    roles: dict[str, Config],
) -> None:
    """G35, G36: erasing is a right of its own."""
    allowed = replace(roles["service"], enable_hard_deletes=True)
    with EventStore.connect(allowed, runtime=CallerRuntime) as store:
        store.link_to_stream("linked", 0, store.read_stream_forward("old"))
        store.delete_stream("linked", 1)
        with pytest.raises(StorageUnavailableError, match="permission denied"):
            store.delete_stream("old", 1, hard=True)
        assert store.stream_info("old").stream_version == 1


def test_a_service_appends_in_a_transaction_of_its_own(
    roles: dict[str, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """G37: with the same rights, whoever holds the lock."""
    expect_late_answers(monkeypatch, margin=4.5)
    admin = psycopg.conninfo.make_conninfo(roles["service"].dsn, user="postgres")
    with (
        EventStore.connect(roles["service"], runtime=CallerRuntime) as store,
        psycopg.connect(roles["service"].dsn) as mine,
        psycopg.connect(admin) as other,
    ):
        store.append_to_stream("new", 0, [EventData("Happened", 2)], connection=mine)
        mine.commit()
        assert store.stream_info("$all").stream_version == 2
        other.execute(
            sql.SQL("SELECT {}.lock_head(1000)").format(sql.Identifier(store.config.schema))
        )
        with pytest.raises(StorageUnavailableError, match=rf"process {other.info.backend_pid}"):
            store.append_to_stream("new", 1, [EventData("Happened", 3)], connection=mine, timeout=5)


def test_a_service_runs_projections_and_an_operator_drops_them(roles: dict[str, Config]) -> None:
    """G39: with what their functions need on tables of their own, besides."""

    def change(_connection: object) -> None: ...

    def handle(_events: Events, _connection: object) -> None: ...

    versions = [Projection("sums", n, handle, create=change, drop=change) for n in (1, 2)]
    with EventStore.connect(roles["service"]) as store:
        for version in versions:
            store.project(version)
        store.switch_projection("sums", 2, timeout=PATIENCE)
        store.rebuild_projection("sums", 1)
        with pytest.raises(StorageUnavailableError, match="permission denied"):
            store.drop_projection("sums", 1)
    with EventStore.connect(roles["operator"], runtime=CallerRuntime) as store:
        store.drop_projection("sums", 1)
        store.drop_projection("sums", 2, force=True)
        assert (store.projections(), store.subscriptions()) == ([], [])


def test_an_operator_deletes_streams_for_good(roles: dict[str, Config]) -> None:
    """G36: with the links to them."""
    allowed = replace(roles["operator"], enable_hard_deletes=True)
    with EventStore.connect(allowed, runtime=CallerRuntime) as store:
        store.link_to_stream("linked", 0, store.read_stream_forward("old"))
        store.delete_stream("old", 1, hard=True)
        assert store.read_all_streams_forward() == store.read_stream_forward("linked") == []


def test_a_service_records_and_deletes_snapshots(roles: dict[str, Config]) -> None:
    """G10: one replaces the other."""
    with EventStore.connect(roles["service"], runtime=CallerRuntime) as store:
        for data in (1, 2):
            assert store.record_snapshot("old", 1, SnapshotData("Sum", data))
        found = store.read_snapshot("old", "Sum")
        assert found is not None
        assert found.data == 2
        assert store.delete_snapshot("old", "Sum")


def test_an_operator_deletes_subscriptions(roles: dict[str, Config]) -> None:
    """G16: with all that belongs to them."""
    with EventStore.connect(roles["operator"]) as store:
        store.subscribe_to_all_streams("billing", lambda _: None)
        store.delete_subscription("$all", "billing")
        with pytest.raises(SubscriptionNotFoundError):
            store.subscription_info("$all", "billing")
