"""A handler that closes more than its own store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from eventstore import Config, Events, ExpectedVersion
from eventstore.client.own_thread import OwnThread
from tests.coroutines.conftest import connected, numbered
from tests.support.waiting import PATIENCE

Run = Callable[[Callable[[], Any]], Any]


class Hasty(OwnThread[Any]):
    """Has done what it can before the loop goes on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._thread.join(0.5)


def test_a_handler_may_close_the_store_that_its_own_was_opened_from(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G26, G42: its end is not waited for, however far the close gets meanwhile."""
    config = Config(f"memory:{uuid4().hex}", poll_interval=0.05, stop_timeout=PATIENCE)

    async def main() -> None:
        closed = asyncio.Event()

        async with connected(config) as store:
            beside = await store.for_schema("beside", init=True)

            async def handle(_: Events) -> None:
                monkeypatch.setattr("eventstore.client.coroutine_calls.OwnThread", Hasty)
                await store.close()
                closed.set()

            await beside.subscribe_to_all_streams("s", handle)
            await beside.append_to_stream("a", ExpectedVersion.ANY, numbered(1, 1))
            async with asyncio.timeout(PATIENCE / 2):
                await closed.wait()

    run(main)
