"""Waiting for the checkpoint of a subscription that runs elsewhere."""

from __future__ import annotations

from uuid import uuid4

import pytest

from eventstore import Config, DeliveryTimeoutError, StorageUnavailableError
from eventstore.client.awaiting import wait_for_checkpoint
from eventstore.model.subscription_start import Origin
from eventstore.ports.ownership import Claim
from eventstore.ports.waits import BLOCKING, run_blocking
from eventstore.storages.memory import MemoryStorage
from tests.conformance.conftest import soon

LONG = 10.0


class Oversleeping:
    """Blocks, and sleeps longer than it should, as on a busy machine."""

    signal, call = BLOCKING.signal, BLOCKING.call

    async def pause(self, seconds: float) -> None:
        await BLOCKING.pause(seconds + 0.1)


@pytest.fixture
def storage() -> MemoryStorage:
    storage = MemoryStorage(Config("memory:"))
    storage.open(init=True, deadline=soon())
    claim = Claim(
        stream_id="a",
        subscription_name="s",
        start=Origin.ORIGIN,
        owner=uuid4(),
        owner_name="somebody",
        lease=10.0,
    )
    storage.claim(claim, soon())
    return storage


def wait(storage: MemoryStorage, timeout: float) -> None:
    waiting = wait_for_checkpoint(
        storage,
        "a",
        "s",
        1,
        timeout=timeout,
        patience=LONG,
        longest_pause=1.0,
        waits=Oversleeping(),
    )
    run_blocking(waiting)


def test_who_overslept_the_deadline_is_told_of_the_timeout(storage: MemoryStorage) -> None:
    """G25: the storage was there; what was waited for was not."""
    with pytest.raises(DeliveryTimeoutError, match=r"not acknowledged within 0\.05 s"):
        wait(storage, 0.05)


def test_a_storage_that_is_away_is_named(storage: MemoryStorage) -> None:
    storage.close()
    with pytest.raises(StorageUnavailableError):
        wait(storage, 0.05)
