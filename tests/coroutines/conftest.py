"""A store for coroutines, and a loop in debug mode; a test that leaves anything in it fails."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from pykka import ActorRegistry

from eventstore import AsyncEventStore, Config, EventData
from eventstore_actors.kernel.workers import WORKERS
from tests.support.waiting import PATIENCE

Main = Callable[[], Coroutine[Any, Any, Any]]

BLOCKED = 4.0
"""Seconds of one callback after which the loop counts as blocked: less than any timeout of a store,
and more than a machine stands still that has much else to do."""


@pytest.fixture(params=["memory", "postgres"])
def config(request: pytest.FixtureRequest) -> Config:
    if request.param == "memory":
        return Config(f"memory:{uuid4().hex}", poll_interval=0.05)
    dsn, schema = request.getfixturevalue("dsn"), request.getfixturevalue("schema")
    return Config(dsn, schema=schema, poll_interval=0.05, pool_size=4)


@asynccontextmanager
async def connected(config: Config) -> AsyncIterator[AsyncEventStore]:
    async with AsyncEventStore.connect(config, init=True) as store:
        yield store


@pytest.fixture
def run(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[Main], Any]]:
    """Run a coroutine function in a new loop. It leaves no task, no thread, and blocks no one."""

    def run(main: Main) -> Any:
        async def whole() -> Any:
            loop = asyncio.get_running_loop()
            loop.slow_callback_duration = BLOCKED
            before, threads_before = asyncio.all_tasks(), threads()
            result = await main()
            # A connect that nobody needs any more ends a little later than its store.
            await until(lambda: threads() <= threads_before)
            left = asyncio.all_tasks() - before
            assert not left, left
            return result

        return asyncio.run(whole(), debug=True)

    yield run
    slow = [each.getMessage() for each in caplog.records if each.name == "asyncio"]
    assert not slow, slow


def threads() -> Counter[str]:
    """Return what stores hold: their actors, and their threads.

    A thread that actors borrow has another name at every look, so it counts only when no actor is
    left that could have borrowed it.
    """
    actors = [each.actor_class.__name__ for each in ActorRegistry.get_all()]
    borrowed = WORKERS._threads if actors else ()
    return Counter(actors) + Counter(
        each.name
        for each in threading.enumerate()
        if each.name.startswith("eventstore") and each not in borrowed
    )


def numbered(first: int, last: int) -> list[EventData]:
    return [EventData("Numbered", {"event": number}) for number in range(first, last + 1)]


async def until(condition: Callable[[], object]) -> None:
    """Return when *condition* is true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.005)
