"""Coroutine functions create, fill, switch, rebuild and drop the tables of a projection."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from eventstore import Config, Events, ExpectedVersion, Projection
from tests.coroutines.conftest import connected, numbered, until
from tests.coroutines.test_effects_of_coroutines import effects, write
from tests.coroutines.test_handlers import Run
from tests.support.waiting import PATIENCE

ANY = ExpectedVersion.ANY

Connection = psycopg.AsyncConnection[Any]


@pytest.fixture
def config(dsn: str, schema: str) -> Config:
    dsn = f"{dsn} options=-csearch_path={schema}"
    return Config(dsn, schema=schema, poll_interval=0.05, pool_size=4)


async def create(connection: Connection) -> None:
    await connection.execute("CREATE TABLE effects (number bigint)")


async def drop(connection: Connection) -> None:
    await connection.execute("DROP TABLE effects CASCADE")


async def switch(connection: Connection) -> None:
    await connection.execute("CREATE VIEW shown AS TABLE effects")


def test_its_functions_run_on_the_loop(config: Config, run: Run) -> None:
    """G39, G42: each event counts once, also after a rebuild."""
    projection = Projection("effects", 1, write, create=create, switch=switch, drop=drop)

    async def main() -> None:
        async with connected(config) as store:
            subscription = await store.project(projection)
            await store.append_to_stream("a", ANY, numbered(1, 3))
            await until(lambda: subscription.checkpoint == 3)
            await store.switch_projection("effects", 1)
            await store.rebuild_projection("effects", 1, force=True)
            async with asyncio.timeout(PATIENCE):
                while await effects(config) != [1, 2, 3]:  # noqa: ASYNC110 - of somebody else
                    await asyncio.sleep(0.01)
            [info] = await store.projections(over=0.01)
            assert (info.is_current, info.rate) == (True, 0)
            await store.drop_projection("effects", 1, force=True)
            assert (await store.projections(), await store.subscriptions()) == ([], [])

    run(main)


def test_a_creation_that_is_cancelled_leaves_nothing_behind(config: Config, run: Run) -> None:
    """G39, G42: its transaction is rolled back."""
    going = asyncio.Event()

    async def wait(connection: Connection) -> None:
        await create(connection)
        going.set()
        await asyncio.sleep(60)

    async def handle(events: Events, connection: Connection) -> None: ...

    async def main() -> None:
        async with connected(config) as store:
            starting = asyncio.create_task(
                store.project(Projection("effects", 1, handle, create=wait))
            )
            await going.wait()
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            assert (await store.projections(), await store.subscriptions()) == ([], [])
            await store.project(Projection("effects", 1, write, create=create))
            assert await effects(config) == []

    run(main)
