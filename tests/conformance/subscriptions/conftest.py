"""Subscriptions need actors; the rest is as for every test of a store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from eventstore.client.targets import registered_runtime
from tests.conformance.conftest import Connect, Surface
from tests.conformance.subscriptions.recording import Subscriber
from tests.support.over_loop import LoopThread


@pytest.fixture(params=["actors", "asyncio"])
def surface(request: pytest.FixtureRequest) -> Iterator[Surface]:
    if request.param == "actors":
        yield registered_runtime()
        return
    loop = LoopThread()
    yield loop
    loop.close()


class NewSubscriber(Protocol):
    """Starts another subscriber actor, stopped after the test."""

    def __call__(self, *, acknowledges: bool = False) -> Subscriber: ...


@pytest.fixture
def new_subscriber(connect: Connect) -> Iterator[NewSubscriber]:
    # Stopped before the stores, which therefore wait for no acknowledgement.
    started: list[Subscriber] = []

    def start(*, acknowledges: bool = False) -> Subscriber:
        started.append(Subscriber(acknowledges=acknowledges))
        return started[-1]

    yield start
    for subscriber in started:
        subscriber.die()


@pytest.fixture
def subscriber(new_subscriber: NewSubscriber) -> Subscriber:
    return new_subscriber()
