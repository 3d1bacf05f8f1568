"""The sessions of a storage: whoever opens them, and when, closing the storage closes them all."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from eventstore.storages.postgres import PostgresStorage
from tests.support.rooms import in_threads


@pytest.fixture
def hurried() -> Iterator[None]:
    """Let threads alternate as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hurried")
def test_sessions_opened_by_many_threads_are_all_known_and_closed(
    open_storage: Callable[[], PostgresStorage],
) -> None:
    """F44, G26: none is left out, and none outlives the storage."""
    storage = open_storage()
    together = threading.Barrier(8)

    def open_many(_: int) -> None:
        together.wait(60)
        for _ in range(100):
            storage.keeper_session()

    in_threads(8, open_many)
    assert len([*storage._sessions]) == 800
    storage.close()
    assert all(session.closed for session in storage._sessions)
    storage.keeper_session()
    assert [*storage._sessions][-1].closed
