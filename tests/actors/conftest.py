"""An application that owns a supervisor, over either storage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from eventstore import Config, EventStore
from tests.actors.application import Application
from tests.support.pgserver import TestServer


@pytest.fixture(params=["memory", "postgres"])
def config(request: pytest.FixtureRequest) -> Config:
    """Settings of a store of the test's own, impatient ones."""
    impatient = Config(
        "memory:", poll_interval=0.2, lease=2.0, stop_timeout=5.0, append_timeout=10.0
    )
    if request.param == "memory":
        return impatient
    dsn, schema = request.getfixturevalue("dsn"), request.getfixturevalue("schema")
    return replace(impatient, dsn=dsn, schema=schema)


@pytest.fixture
def application(config: Config) -> Iterator[Application]:
    with Application(config) as running:
        yield running


@pytest.fixture
def store(application: Application) -> Iterator[EventStore]:
    with application.attach() as attached:
        yield attached


@pytest.fixture
def own_server() -> Iterator[TestServer]:
    """A server of the test's own, to be hurt."""
    with TestServer() as server:
        yield server
