"""The two storages, so that one suite says of both what a store means."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from uuid import uuid4

import pytest

from eventstore.config import Config
from eventstore.storage import Storage
from eventstore.targets import storage_for

POLL_INTERVAL = 0.05
LEASE = 1.0


def soon() -> float:
    """Return a deadline that no call of a test should need to reach."""
    return time.monotonic() + 10


@pytest.fixture(params=["memory", "postgres"])
def config(request: pytest.FixtureRequest) -> Iterator[Config]:
    """Settings of a fresh store that lives as long as the test, whoever opens and closes it."""
    settings = Config("memory:", poll_interval=POLL_INTERVAL, lease=LEASE, pool_size=4)
    if request.param == "memory":
        settings = replace(settings, dsn=f"memory:{uuid4().hex}")
    else:
        dsn, schema = request.getfixturevalue("dsn"), request.getfixturevalue("schema")
        settings = replace(settings, dsn=dsn, schema=schema)
    keeper = opened(settings)
    try:
        yield settings
    finally:
        keeper.close()


@pytest.fixture
def open_storage(config: Config) -> Iterator[Callable[[], Storage]]:
    """Return what opens the store of the test once more, as another process would."""
    storages: list[Storage] = []

    def open_another() -> Storage:
        storages.append(opened(config))
        return storages[-1]

    yield open_another
    for storage in storages:
        storage.close()


def opened(config: Config) -> Storage:
    storage = storage_for(config)
    storage.open(init=True, deadline=soon())
    return storage
