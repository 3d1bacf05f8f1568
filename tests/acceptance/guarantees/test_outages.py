"""The network swallows everything between several processes and their server, for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from eventstore import EventStore
from tests.acceptance.guarantees.conftest import Settings, Start, wait_for_checkpoint
from tests.acceptance.guarantees.test_durability import assert_stored, everything
from tests.support.processes import Service
from tests.support.proxy import Proxy
from tests.support.waiting import PATIENCE

NAME = "sub"
TIMEOUT = 0.7
CONNECT_TIMEOUT = 1.0
BACK = CONNECT_TIMEOUT + PATIENCE
"""Seconds after its return until everybody uses the database again."""


@pytest.fixture
def network(settings: Settings) -> Iterator[Proxy]:
    with Proxy(settings["dsn"]) as proxy:
        yield proxy


def test_an_outage_ends_calls_of_every_process_in_time_and_everybody_resumes(
    start: Start, network: Proxy, observer: EventStore
) -> None:
    """G25, G5, G6, G13, G14: each error says whether its append may be stored."""
    afar: Settings = {"dsn": network.dsn, "connect_timeout": CONNECT_TIMEOUT}
    writers = [*start(runtime="caller", **afar), *start(**afar)]
    (subscriber,) = start(**afar)
    subscriber.do("subscribe", name=NAME).wait("subscribed")
    for seed, writer in enumerate(writers):
        writer.do("write", streams=["a", "b"], seed=seed, most_streams=2, timeout=TIMEOUT)
        writer.wait("appended", count=10)
    # What is sent on a connection that is there arrives; what is answered does not.
    network.swallow(after_bytes_to_server=10_000_000)
    scripted, acting = writers
    # Of the script, the outage may have met an announcement, which has no answer that counts.
    acting.wait("failed", error="OutcomeUnknownError")
    for writer in (scripted, acting):
        writer.wait("failed", error="StorageUnavailableError")
    network.pass_on()
    back = time.monotonic()
    for writer in writers:
        assert resumed(writer, back) < BACK
        writer.do("stop").wait("written")
    stored = everything(observer)
    subscriber.until(lambda: len(stored) in subscriber.positions(NAME))
    assert first_after(subscriber, "delivered", back) < BACK
    wait_for_checkpoint(observer, len(stored))
    assert set(subscriber.positions(NAME)) == set(range(1, len(stored) + 1))
    for writer in writers:
        assert_stored(writer.reports("appended"), stored)
        assert_told(writer, set(stored))


def resumed(writer: Service, back: float) -> float:
    writer.wait("appended", count=len(writer.reports("appended")) + 10)
    return first_after(writer, "appended", back)


def first_after(service: Service, what: str, moment: float) -> float:
    """Return how many seconds after *moment* it first reported that again."""
    moments = [float(report["at"]) for report in service.reports(what)]
    return min(at for at in moments if at > moment) - moment


def assert_told(writer: Service, stored: set[str]) -> None:
    """Each failure came at its deadline; one that never was sent is not stored."""
    failures = writer.reports("failed")
    assert {r["error"] for r in failures} <= {"OutcomeUnknownError", "StorageUnavailableError"}
    assert max(report["seconds"] for report in failures) < TIMEOUT + PATIENCE
    for report in failures:
        ids = {event_id for ids in report["ids"].values() for event_id in ids}
        assert not ids & stored or ids <= stored
        if report["error"] == "StorageUnavailableError":
            assert not ids & stored
