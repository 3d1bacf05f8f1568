"""A target that is away is no event that fails: nothing is parked for good because of it."""

from __future__ import annotations

import random

from eventstore import EventData, Events, EventStore, ExpectedVersion, Retry, StorageError
from tests.support.waiting import wait_until

ANY = ExpectedVersion.ANY
PARK = Retry(first=0, longest=0, attempts=2, then="park")
STREAMS = 10


class TargetAwayError(Exception):
    """An error that says nothing of an outage."""


class Relay:
    """Posts each event, in batches that it acknowledges as a whole."""

    def __init__(self, *, poison: int = 0, away: type[Exception] = ConnectionError) -> None:
        self.posts: list[int] = []
        self.done: list[tuple[str, int]] = []
        self.outage = 0
        """Posts that fail, from now on."""
        self.chance = random.Random(7)
        self.failing = 0.0
        self.poison = poison
        self._away = away

    def __call__(self, events: Events) -> None:
        for event in events:
            self._post(event.stream_id, event.data)
            events.ack(event)

    def _post(self, stream_id: str, number: int) -> None:
        self.posts.append(number)
        if self.outage:
            self.outage -= 1
            raise self._away("away")
        if number == self.poison:
            raise ValueError("no such product")
        if self.chance.random() < self.failing:
            raise ConnectionResetError("cut")
        self.done.append((stream_id, number))


def append(store: EventStore, first: int, last: int) -> None:
    for number in range(first, last + 1):
        event = EventData("Numbered", number)
        store.append_to_stream(f"s-{number % STREAMS}", ANY, [event])


def test_a_relay_delivers_all_but_what_its_target_refuses(store: EventStore) -> None:
    """G13, G14, G38: 30 % of the posts fail, the target is away for a while, one event is poison.

    Every other event arrives, in the order of its stream, with few posts.
    """
    events, poison = 300, 137
    relay = Relay(poison=poison)
    relay.failing = 0.3
    append(store, 1, events // 2)
    retry = Retry(first=0, longest=0.01, then="park")

    subscription = store.subscribe_to_all_streams("relay", relay, on_error=retry)

    wait_until(lambda: len(relay.done) > 50)
    relay.outage = 40
    append(store, events // 2 + 1, events)
    wait_until(lambda: subscription.checkpoint == events)
    behind = [n for n in range(1, events + 1) if n % STREAMS == poison % STREAMS and n >= poison]
    assert [e.position for e in store.parked("$all", "relay")] == behind
    for stream in range(STREAMS):
        expected = [n for n in range(1, events + 1) if n % STREAMS == stream and n not in behind]
        assert [n for s, n in relay.done if s == f"s-{stream}"] == expected
    # 1.43 is the least. The posts in the outage come on top.
    assert len(relay.posts) - 40 < 1.7 * events
    relay.poison = 0
    store.retry_parked("$all", "relay")
    wait_until(lambda: store.parked("$all", "relay") == [])
    assert [n for s, n in relay.done if s == f"s-{poison % STREAMS}"] == [
        n for n in range(1, events + 1) if n % STREAMS == poison % STREAMS
    ]


def test_an_outage_that_does_not_look_like_one_parks_nothing_for_good(store: EventStore) -> None:
    """G38: what was given up in it is delivered again by itself, before what came after it."""
    append(store, 1, 40)
    relay = Relay(away=TargetAwayError)
    relay.outage = 30

    subscription = store.subscribe_to_all_streams("relay", relay, on_error=PARK)

    wait_until(lambda: subscription.checkpoint == 40)
    wait_until(lambda: store.parked("$all", "relay") == [])
    for stream in range(STREAMS):
        numbers = [n for s, n in relay.done if s == f"s-{stream}"]
        assert numbers == [n for n in range(1, 41) if n % STREAMS == stream]


def test_what_fails_after_the_outage_is_poison(store: EventStore) -> None:
    """G38."""
    append(store, 1, 40)
    relay = Relay(away=TargetAwayError, poison=1)
    relay.outage = 30

    subscription = store.subscribe_to_all_streams("relay", relay, on_error=PARK)

    wait_until(lambda: subscription.checkpoint == 40)
    wait_until(lambda: not any(e.is_marked for e in store.parked("$all", "relay")))
    wait_until(lambda: [e.position for e in store.parked("$all", "relay")] == [1, 11, 21, 31])


def test_an_outage_of_the_database_parks_nothing(store: EventStore) -> None:
    """G38: nor do errors of the store, however many."""
    append(store, 1, 5)
    relay = Relay(away=StorageError)
    relay.outage = 100

    subscription = store.subscribe_to_all_streams("relay", relay, on_error=PARK)

    wait_until(lambda: subscription.checkpoint == 5)
    assert store.parked("$all", "relay") == []
    assert sorted(n for _, n in relay.done) == [1, 2, 3, 4, 5]
