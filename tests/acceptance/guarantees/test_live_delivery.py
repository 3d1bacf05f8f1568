"""What one process appends reaches another one in time, whatever became of the announcement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.acceptance.guarantees.conftest import Settings, Start, installed
from tests.acceptance.guarantees.deaf import DeafProxy
from tests.acceptance.guarantees.test_lost_backends import terminate
from tests.support.pgserver import TestServer
from tests.support.processes import Service
from tests.support.waiting import PATIENCE, wait_until

NAME = "sub"
POLL = 1.0


@pytest.fixture
def network(settings: Settings) -> Iterator[DeafProxy]:
    """The way of the subscriber to the server."""
    with DeafProxy(settings["dsn"]) as proxy:
        yield proxy


def delay(writer: Service, subscriber: Service, timeout: float = 20.0) -> float:
    """Let one append an event; the seconds until the other one is delivered it."""
    number = len(writer.reports("appended")) + 1
    writer.do("write", streams=["s"], seed=number, appends=1, most_events=1)
    appended = writer.wait("appended", count=number, timeout=timeout)
    return delivered_at(subscriber, number) - float(appended["at"])


def delivered_at(subscriber: Service, position: int) -> float:
    subscriber.until(lambda: position in subscriber.positions(NAME))
    moments = [
        float(report["at"])
        for report in subscriber.reports("delivered", name=NAME)
        if position in [place for place, *_ in report["events"]]
    ]
    return moments[0]


def listening(service: Service) -> bool:
    count = len(service.reports("health"))
    return bool(service.do("health").wait("health", count=count + 1)["listening"])


def test_a_lost_announcement_delays_an_event_by_the_poll_interval_at_most(
    start: Start, network: DeafProxy
) -> None:
    """G23, G13: the process believes that it hears; no next event comes to wake it."""
    (writer,) = start(runtime="caller")
    (subscriber,) = start(dsn=network.dsn, poll_interval=POLL)
    subscriber.do("subscribe", name=NAME).wait("subscribed")
    wait_until(lambda: listening(subscriber))
    assert delay(writer, subscriber) < POLL + PATIENCE
    network.deaf = True
    assert delay(writer, subscriber) < POLL + PATIENCE
    assert network.lost
    assert listening(subscriber)


def test_a_process_that_cannot_listen_is_delivered_within_the_poll_interval(
    start: Start, network: DeafProxy
) -> None:
    """G23, G13: though nothing announces an event."""
    network.deaf = True
    (writer,) = start(runtime="caller")
    (subscriber,) = start(dsn=network.dsn, poll_interval=POLL)
    subscriber.do("subscribe", name=NAME).wait("subscribed")
    assert delay(writer, subscriber) < POLL + PATIENCE
    assert not listening(subscriber)


def test_a_process_whose_connections_died_is_delivered_within_the_poll_interval(
    dsn: str, schema: str, start: Start
) -> None:
    """G23, G13: what was appended while it connects anew, too."""
    (writer,) = start(runtime="caller", dsn=dsn)
    (subscriber,) = start(poll_interval=POLL)
    subscriber.do("subscribe", name=NAME).wait("subscribed")
    for _ in range(2):
        wait_until(lambda: listening(subscriber))
        terminate(dsn, schema)
        assert delay(writer, subscriber) < POLL + PATIENCE


def test_a_restart_of_the_server_delays_an_event_by_the_poll_interval_at_most() -> None:
    """G23, G13, G25: both processes go on by themselves."""
    with TestServer() as server, ExitStack() as stack:
        settings = {**installed(server.dsn, "live"), "poll_interval": POLL, "append_timeout": 30.0}
        writer, subscriber = Service(settings), Service(settings)
        for service in (writer, subscriber):
            stack.callback(service.kill9)
        subscriber.ready().do("subscribe", name=NAME).wait("subscribed")
        writer.ready()
        assert delay(writer, subscriber) < POLL + PATIENCE
        server.kill9_postmaster()
        writer.do("write", streams=["s"], seed=0, appends=1, most_events=1)
        writer.wait("trying", count=2)
        server.start()
        appended = writer.wait("appended", count=2)
        assert delivered_at(subscriber, 2) - appended["at"] < POLL + PATIENCE
        assert delay(writer, subscriber) < POLL + PATIENCE
