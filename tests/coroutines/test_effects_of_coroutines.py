"""Coroutine functions whose effects and checkpoints are stored together."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count
from typing import Any

import psycopg
import pytest

from eventstore import Config, Events, ExpectedVersion, Retry, SubscriptionLostError
from tests.coroutines.conftest import connected, numbered, until
from tests.coroutines.test_cancelling import CALLS, cancelled_at
from tests.coroutines.test_handlers import Run
from tests.support.waiting import PATIENCE

ANY = ExpectedVersion.ANY


@pytest.fixture
def config(dsn: str, schema: str) -> Config:
    dsn = f"{dsn} options=-csearch_path={schema}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{schema}"'.encode())
        connection.execute("CREATE TABLE effects (number bigint)")
    return Config(dsn, schema=schema, poll_interval=0.05, pool_size=4)


async def write(events: Events, connection: psycopg.AsyncConnection[Any]) -> None:
    for event in events:
        await connection.execute("INSERT INTO effects VALUES (%s)", [event.data["event"]])


async def effects(config: Config) -> list[int]:
    async with await psycopg.AsyncConnection.connect(config.dsn) as connection:
        cursor = await connection.execute("SELECT number FROM effects ORDER BY 1")
        return [number for (number,) in await cursor.fetchall()]


def test_a_coroutine_stores_its_checkpoint_in_its_own_transaction(config: Config, run: Run) -> None:
    """G39, G42: it awaits it."""

    async def book(events: Events) -> None:
        async with await psycopg.AsyncConnection.connect(config.dsn) as connection:
            await write(events, connection)
            await events.checkpoint(connection)

    async def main() -> None:
        async with connected(config) as store:
            subscription = await store.subscribe_to_all_streams(
                "ledger", book, transactional="caller"
            )
            await store.append_to_stream("a", ANY, numbered(1, 3))
            await until(lambda: subscription.checkpoint == 3)
            assert await effects(config) == [1, 2, 3]
            assert (await store.subscription_info("$all", "ledger")).checkpoint == 3

    run(main)


@pytest.mark.parametrize("commits", [True, False])
def test_a_coroutine_that_closes_its_connection_is_not_called_for_ever(
    config: Config, run: Run, commits: bool
) -> None:
    """G39, G42: after a commit the subscription stops; without one it has failed."""

    async def book(events: Events, connection: Any) -> None:
        await write(events, connection)
        if commits:
            async with connection:
                pass
        await connection.close()

    async def main() -> None:
        async with connected(config) as store:
            await store.append_to_stream("a", ANY, numbered(1, 3))
            subscription = await store.subscribe_to_all_streams(
                "ledger", book, transactional=True, on_error=Retry(attempts=1)
            )
            with pytest.raises(SubscriptionLostError) as caught:
                await subscription.join(PATIENCE)
            ended = "its function ended the transaction"
            assert (ended if commits else "the handler closed its connection") in str(caught.value)
        assert await effects(config) == ([1, 2, 3] if commits else [])

    run(main)


def test_a_transaction_of_a_coroutine_holds_up_nobody(config: Config, run: Run) -> None:
    """G39, G42: the loop goes on; when the store closes, what is in flight is rolled back."""
    began: list[int] = []

    async def book(events: Events, connection: Any) -> None:
        await write(events, connection)
        began.append(len(events))
        await connection.execute("SELECT pg_sleep(60)")

    async def main() -> None:
        async with connected(config) as store:
            await store.subscribe_to_all_streams("ledger", book, transactional=True)
            await store.append_to_stream("a", ANY, numbered(1, 3))
            await until(lambda: began)
            await store.append_to_stream("a", ANY, numbered(4, 4))
            await store.close(timeout=0.1)
        assert await effects(config) == []

    run(main)


def test_a_cancelled_append_for_a_batch_gives_its_connection_back(config: Config, run: Run) -> None:
    """G39, G42: at whatever await, also in the rollback at its end."""

    async def main() -> None:
        async with connected(config) as store:
            storage: Any = store._store._storage()
            with suppress(EOFError):
                for number in count():
                    with suppress(asyncio.CancelledError):
                        await cancelled_at(number, CALLS["append for a batch"](store))
                    task = asyncio.current_task()
                    assert task is not None
                    task.uncancel()
                    assert not storage._handler_connections._lent

    run(main)
