"""Subscriptions need actors; the rest is as for every test of a store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from eventstore import Runtime
from eventstore.client.targets import registered_runtime
from tests.conformance.conftest import Connect
from tests.conformance.subscriptions.recording import Subscriber


@pytest.fixture
def runtime() -> type[Runtime]:
    return registered_runtime()


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
