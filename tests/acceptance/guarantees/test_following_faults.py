"""A live read goes on where it was, whatever happened to the server or to the runtime."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from eventstore import (
    Config,
    EventData,
    EventStore,
    ExpectedVersion,
    Follower,
    StorageUnavailableError,
)
from eventstore_actors.kernel.messages import Child
from tests.acceptance.guarantees.conftest import installed
from tests.support.pgserver import TestServer
from tests.support.waiting import wait_until


def append(store: EventStore, count: int = 1) -> None:
    events = [EventData("X", number) for number in range(count)]
    store.append_to_stream("s", ExpectedVersion.ANY, events, timeout=60)


class Reader:
    """Follows everything in a thread of its own, and goes on after every refusal."""

    def __init__(self, followed: Follower) -> None:
        self.positions: list[int] = []
        self.refusals: list[StorageUnavailableError] = []
        self._followed = followed

    def run(self) -> None:
        while True:
            try:
                self.positions.append(next(self._followed).position)
            except StorageUnavailableError as error:
                self.refusals.append(error)
            except StopIteration:
                return


@contextmanager
def reading(store: EventStore) -> Iterator[Reader]:
    with store.follow_all() as followed:
        reader = Reader(followed)
        thread = threading.Thread(target=reader.run)
        thread.start()
        try:
            yield reader
        finally:
            followed.close()
            thread.join()


def test_it_goes_on_when_the_server_is_back(private_server: TestServer) -> None:
    """G11, G24: each step says that there was no answer; nothing is left out or yielded twice."""
    settings = {**installed(private_server.dsn, "followed"), "connect_timeout": 0.5}
    with EventStore.connect(Config(**settings)) as store, reading(store) as reader:
        append(store, 3)
        wait_until(lambda: reader.positions == [1, 2, 3])
        private_server.stop("immediate")
        wait_until(lambda: reader.refusals)
        assert all(refusal.retryable for refusal in reader.refusals)
        private_server.start()
        append(store, 2)
        wait_until(lambda: reader.positions == [1, 2, 3, 4, 5])


def test_it_goes_on_after_a_crash_of_what_tells_it(dsn: str, schema: str) -> None:
    """G24: the publisher has forgotten who follows, and is asked again."""
    settings = {**installed(dsn, schema), "poll_interval": 0.2}
    with EventStore.connect(Config(**settings)) as store, reading(store) as reader:
        append(store)
        wait_until(lambda: reader.positions == [1])
        directory = store._runtime._tree.directory  # type: ignore[attr-defined]
        crashed = directory.find(Child.PUBLISHER)
        crashed.tell("nonsense")
        wait_until(lambda: directory.find(Child.PUBLISHER) not in {None, crashed})
        for position in range(2, 5):
            append(store)
            wait_until(lambda seen=position: reader.positions[-1] == seen)  # type: ignore[misc]
        assert reader.positions == [1, 2, 3, 4]
        assert not reader.refusals
