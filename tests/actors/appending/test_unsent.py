"""What was not sent is never called unknown, whatever keeps the writer from sending it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from eventstore.model.config import Config
from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.ports.stored_events import EncodedEvent
from eventstore_actors.kernel.messages import Child, ChildFailed
from tests.support.proxy import Proxy
from tests.support.rooms import ANY, Ear, Rooms, one, rooms_over
from tests.support.waiting import wait_until


@pytest.fixture
def proxy(dsn: str) -> Iterator[Proxy]:
    with Proxy(dsn) as proxy:
        yield proxy


@pytest.fixture
def publisher(rooms: Rooms) -> Ear:
    return rooms.listen_as(Child.PUBLISHER)


@pytest.fixture
def rooms(proxy: Proxy, schema: str) -> Iterator[Rooms]:
    with rooms_over(Config(proxy.dsn, schema=schema)) as rooms:
        yield rooms


def test_who_gives_up_while_the_writer_connects_was_not_sent(
    rooms: Rooms, publisher: Ear, proxy: Proxy
) -> None:
    """F36, G25: in one group with somebody who has more time, and so has the connection."""
    rooms.start_writer()
    proxy.swallow()
    with rooms.shared.turn.writer_turn():
        # The writer waits for the turn with this one, and takes up the others together after it.
        first = rooms.send(one("first"), timeout=0.5)
        patient, hasty = rooms.send(one("patient")), rooms.send(one("hasty"), timeout=2.0)
    for each in (first, hasty):
        with pytest.raises(StorageUnavailableError):
            each.get()
    proxy.pass_on()
    assert patient.get().results[0].last_version == 1
    assert [stream for _, stream, _, _ in rooms.stored()] == ["patient"]


def test_a_writer_that_crashes_between_two_attempts_has_sent_nothing(
    rooms: Rooms, publisher: Ear, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """F36, G24: it could not connect, and waits to try again."""
    writer = rooms.start_writer()
    proxy.close()
    waiting = rooms.send(one("order-1"))
    wait_until(lambda: "append retried" in caplog.text)
    writer.tell("no message of its own")
    with pytest.raises(StorageUnavailableError, match="crashed before the append was sent"):
        waiting.get()
    assert isinstance(rooms.supervisor.next(ChildFailed).error, TypeError)


def test_a_value_that_cannot_be_sent_is_refused_alone(rooms: Rooms, publisher: Ear) -> None:
    """F27, G7: it never left this process, and the others of its commit are stored."""
    rooms.start_writer()
    bad = EncodedEvent(uuid4(), "Happened", "text")  # type: ignore[arg-type]
    with rooms.shared.turn.writer_turn():
        refused, stored = rooms.send(one("bad", ANY, bad)), rooms.send(one("good"))
        wait_until(lambda: rooms.limit.queued_appends == 2)
    with pytest.raises(StorageError, match="cannot be sent") as error:
        refused.get()
    assert not error.value.retryable
    assert stored.get().results[0].last_version == 1
