"""A series is prepared while the server works, in each runtime and on both surfaces."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventstore import CallerRuntime, Config, EventData, EventStore
from eventstore.client.targets import registered_runtime
from tests.conformance.conftest import Surface, connect_by
from tests.eventstore.postgres.conftest import Psql
from tests.support.over_loop import LoopThread
from tests.support.waiting import PATIENCE, wait_until


@pytest.fixture(params=["caller", "actors", "asyncio"])
def series_store(request: pytest.FixtureRequest, config: Config) -> Iterator[EventStore]:
    loop = LoopThread()
    surfaces: dict[str, Surface] = {
        "caller": CallerRuntime,
        "actors": registered_runtime(),
        "asyncio": loop,
    }
    EventStore.connect(config, runtime=CallerRuntime, init=True).close()
    store = connect_by(surfaces[request.param], config)
    yield store
    store.close()
    loop.close()


def test_the_next_run_is_prepared_while_the_server_stores_the_one_before(
    series_store: EventStore, psql: Psql
) -> None:
    """G42: on both surfaces; the order stays."""
    taken: list[int] = []

    def items() -> Iterator[tuple[str, EventData]]:
        for number in range(12):
            taken.append(number)
            yield "a", EventData("X", number)

    with ThreadPoolExecutor(1) as thread:
        with psql.connection.transaction():
            psql("SELECT FROM {}.write_lock FOR UPDATE")
            appended = thread.submit(series_store.append_many, items(), batch_size=3)
            # A run ends when the first event of the next one was looked at.
            wait_until(lambda: len(taken) >= 7)
            assert not appended.done()
        assert appended.result(PATIENCE) == 12
    assert [event.data for event in series_store.stream_forward("a")] == list(range(12))
