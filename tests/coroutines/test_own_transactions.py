"""A task that has a transaction open, and other tasks of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import psycopg
import pytest

from eventstore import AppendError, Config, Events, ExpectedVersion, StreamDeletedError
from tests.coroutines.conftest import connected, numbered, until
from tests.coroutines.test_handlers import Run
from tests.support.waiting import AGES

ANY = ExpectedVersion.ANY


@pytest.fixture
def config(dsn: str, schema: str) -> Config:
    return Config(dsn, schema=schema, poll_interval=0.05, pool_size=4)


@asynccontextmanager
async def transaction(config: Config) -> AsyncIterator[psycopg.AsyncConnection]:
    """Yield a connection with an open transaction; it is rolled back at the end."""
    async with await psycopg.AsyncConnection.connect(config.dsn) as connection:
        yield connection
        await connection.rollback()


async def waits_for_lock(config: Config) -> None:
    async with await psycopg.AsyncConnection.connect(config.dsn, autocommit=True) as looking:
        waiting = False
        while not waiting:
            cursor = await looking.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
            row = await cursor.fetchone()
            waiting = bool(row and row[0])


def test_a_task_does_not_wait_for_its_own_transaction(config: Config, run: Run) -> None:
    """G37, G42: it is refused at once; another task waits, and the loop with neither."""

    async def main() -> None:
        async with connected(config) as store, transaction(config) as mine:
            await store.append_to_stream("a", 0, numbered(1, 1), connection=mine)
            with pytest.raises(AppendError, match="this task has a transaction open"):
                await store.append_to_stream("b", 0, numbered(2, 2), timeout=AGES)
            with pytest.raises(AppendError, match="this task has a transaction open"):
                await store.append_many([("b", event) for event in numbered(2, 2)])
            with pytest.raises(AppendError, match="this task has a transaction open"):
                await store.link_to_stream("linked", ANY, [uuid4()])
            with pytest.raises(AppendError, match="this task has a transaction open"):
                await store.delete_stream("a", ANY)
            other = asyncio.create_task(store.append_to_stream("b", 0, numbered(2, 2)))
            await waits_for_lock(config)
            assert not other.done()
            await mine.commit()
            assert (await other).last_global_position == 2
            await mine.execute("SELECT")
            await store.append_to_stream("b", 1, numbered(3, 3))

    run(main)


def test_a_cancelled_append_aborts_its_transaction_alone(config: Config, run: Run) -> None:
    """G37, G42: it waited for the lock; the connection can be used again after a rollback."""

    seen: list[int] = []

    async def handle(events: Events) -> None:
        seen.extend(event.data["event"] for event in events)

    async def main() -> None:
        async with connected(config) as store, transaction(config) as mine:
            await store.subscribe_to_all_streams("s", handle)
            async with transaction(config) as theirs:
                await store.append_to_stream("a", 0, numbered(1, 1), connection=theirs)
                waiting = asyncio.create_task(
                    store.append_to_stream("b", 0, numbered(2, 2), connection=mine)
                )
                await waits_for_lock(config)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert mine.info.transaction_status.name == "INERROR"
                await theirs.commit()
            await mine.rollback()
            await store.append_to_stream("b", 0, numbered(3, 3), connection=mine)
            await mine.commit()
            await until(lambda: seen == [1, 3])

    run(main)


def test_links_and_deletions_wait_for_the_commit_of_a_task(config: Config, run: Run) -> None:
    """G37, G42: on the connection of the loop itself."""

    async def main() -> None:
        async with connected(config) as store, transaction(config) as mine:
            await store.append_to_stream("a", 0, numbered(1, 2))
            events = await store.read_stream_forward("a")
            await store.link_to_stream("linked", 0, events, connection=mine)
            await store.delete_stream("a", 2, connection=mine)
            assert await store.read_stream_forward("a") == events
            await mine.commit()
            assert len(await store.read_stream_forward("linked")) == 2
            with pytest.raises(StreamDeletedError):
                await store.read_stream_forward("a")

    run(main)


def test_a_commit_is_delivered_to_a_handler_of_the_loop(config: Config, run: Run) -> None:
    """G37, G23, G42: without a poll, and without a wake."""
    seen: list[int] = []

    async def handle(events: Events) -> None:
        seen.extend(event.data["event"] for event in events)

    async def main() -> None:
        patient = Config(config.dsn, schema=config.schema, poll_interval=AGES)
        async with connected(patient) as store, transaction(config) as mine:
            await store.subscribe_to_all_streams("s", handle)
            for number in (1, 2):
                await store.append_to_stream("a", ANY, numbered(number, number), connection=mine)
                await mine.commit()
                await until(lambda number=number: seen == list(range(1, number + 1)))  # type: ignore[misc]

    run(main)
