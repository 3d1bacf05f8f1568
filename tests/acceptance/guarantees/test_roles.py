"""The README's grants are enough for what they are said to be for, and for no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
    EventStore,
    ExpectedVersion,
    StorageUnavailableError,
    SubscriptionNotFoundError,
)
from tests.support.waiting import wait_until

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
                append_timeout=1,
                connect_timeout=2,
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
        subscription.wait_for(result, timeout=20)
        assert seen == [1, 2]
        subscription.pause()
        subscription.resume()
        store.reset_subscription("$all", "billing", 1)
        wait_until(lambda: seen == [1, 2, 2])
        with pytest.raises(StorageUnavailableError, match="permission denied"):
            store.delete_subscription("$all", "billing")
        assert store.subscription_info("$all", "billing").head == 2


def test_an_operator_deletes_subscriptions(roles: dict[str, Config]) -> None:
    """G16: with all that belongs to them."""
    with EventStore.connect(roles["operator"]) as store:
        store.subscribe_to_all_streams("billing", lambda _: None)
        store.delete_subscription("$all", "billing")
        with pytest.raises(SubscriptionNotFoundError):
            store.subscription_info("$all", "billing")
