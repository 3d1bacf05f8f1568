"""A relay whose target is an HTTP server that fails often, goes away, and refuses one event."""

from __future__ import annotations

import http.client
import json
import time

import pytest

from eventstore import Config, EventData, Events, EventStore, ExpectedVersion, Retry
from tests.acceptance.guarantees.conftest import Settings
from tests.support.processes import Report, Service
from tests.support.waiting import wait_until

NAME = "relay"
STREAMS, EVENTS, POISON = 10, 300, 137
RETRY = Retry(first=0.001, longest=0.05, then="park")
UNHEARD = 20
"""Posts after which the target comes back: more than two events have attempts."""


class RefusedError(Exception):
    """The target did not take an event."""


class Relay:
    """Posts each event, and acknowledges it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.unheard: list[float] = []
        """When there was no target for a post, on `time.monotonic`."""

    def __call__(self, events: Events) -> None:
        for event in events:
            self._post({"stream": event.stream_id, "number": event.data})
            events.ack(event)

    def _post(self, event: dict[str, object]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        try:
            connection.request("POST", "/", json.dumps(event))
            if connection.getresponse().status != 200:
                raise RefusedError(event)
        except ConnectionRefusedError:
            self.unheard.append(time.monotonic())
            raise
        finally:
            connection.close()


def append(store: EventStore, numbers: range) -> None:
    for number in numbers:
        event = EventData("Numbered", number)
        store.append_to_stream(f"s-{number % STREAMS}", ExpectedVersion.ANY, [event])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_relay_delivers_all_but_what_its_target_refuses(settings: Settings, seed: int) -> None:
    """G13, G14, G38: in the order of each stream, with few posts; the outage parks nothing.

    While the target is away, it ends up at one post in the longest delay.
    """
    target_settings = {"seed": seed, "poison": POISON}
    target = Service(target_settings, program="tests.support.relay_target").ready()
    relay = Relay(target.reports("ready")[0]["port"])
    behind = [n for n in range(POISON, EVENTS) if n % STREAMS == POISON % STREAMS]

    def posts(**like: object) -> list[Report]:
        return target.reports("posted", **like)

    with EventStore.connect(Config(**settings)) as store:
        append(store, range(EVENTS // 2))
        subscription = store.subscribe_to_all_streams(NAME, relay, batch_by="any", on_error=RETRY)
        target.until(lambda: len(posts(taken=True)) > EVENTS // 3)
        target.do("down").wait("down")
        append(store, range(EVENTS // 2, EVENTS))
        wait_until(lambda: len(relay.unheard) >= UNHEARD)
        assert {event.position - 1 for event in store.parked("$all", NAME)} <= set(behind)
        target.do("up").wait("up", count=2)
        wait_until(lambda: subscription.checkpoint == EVENTS)
        assert [event.position - 1 for event in store.parked("$all", NAME)] == behind

    target.end()
    assert relay.unheard[-1] - relay.unheard[-2] >= RETRY.longest
    taken = posts(taken=True)
    for stream in range(STREAMS):
        numbers = [post["number"] for post in taken if post["stream"] == f"s-{stream}"]
        assert numbers == [n for n in range(EVENTS) if n % STREAMS == stream and n not in behind]
    # 1.43 is the least.
    assert len(posts()) <= 1.7 * EVENTS
    assert len(posts(number=POISON)) >= 5
