"""Events that kill the process that handles them, and innocent ones among many kills."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from eventstore import CallerRuntime, Config, EventData, EventStore, ExpectedVersion
from eventstore.model.subscription import SubscriptionState
from tests.acceptance.guarantees.conftest import Settings
from tests.support.deadly_relay import NAME, TABLES
from tests.support.processes import Service
from tests.support.waiting import wait_until

PROGRAM = "tests.support.deadly_relay"
ATTEMPTS = 3
DEADLY = -1
AROUND = [*range(5), DEADLY, *range(5, 10)]
"""Five events before the one that kills, and five after it, in one batch."""


class Relays:
    """Processes that relay one after the other, and what they have noted."""

    def __init__(self, settings: Settings) -> None:
        dsn = make_conninfo(settings["dsn"], options=f"-csearch_path={settings['schema']}")
        self._settings = {**settings, "dsn": dsn}
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._connection.execute(TABLES.encode())
        self.store = EventStore.connect(Config(**settings), runtime=CallerRuntime)
        self.current: Service | None = None

    def append(self, numbers: list[int], stream_id: str = "s") -> None:
        events = [EventData("T", number) for number in numbers]
        self.store.append_to_stream(stream_id, ExpectedVersion.ANY, events)

    def start(self, way: str = "function", **retry: Any) -> Service:
        given = {**self._settings, "way": way, "retry": {"attempts": ATTEMPTS, **retry}}
        self.current = Service(given, program=PROGRAM).ready()
        return self.current

    def run_until_one_lives(self, way: str = "function", **retry: Any) -> int:
        """Start relays until one has got past everything. Return how many died before."""
        head = self.store.stream_info("$all").stream_version
        for deaths in range(20):
            relay = self.start(way, **retry)
            wait_until(lambda relay=relay: not relay.running or self.is_done(head))  # type: ignore[misc]
            if relay.running:
                return deaths
            relay.exit_code()
        raise AssertionError(f"all of them died: {self.begun()}")

    def is_done(self, head: int) -> bool:
        return any(
            info.checkpoint == head or info.state is SubscriptionState.STOPPED
            for info in self.store.subscriptions()
        )

    def begun(self) -> list[tuple[int, int, bool]]:
        """Return number, size of the batch and whether it was a replay, in order."""
        return self._connection.execute(
            "SELECT number, size, replay FROM begun ORDER BY nth"
        ).fetchall()

    def handled(self) -> list[int]:
        rows = self._connection.execute("SELECT number FROM handled ORDER BY nth").fetchall()
        return [number for (number,) in rows]

    def noted(self) -> tuple[int | None, int]:
        """Return what the row of the subscription says of attempts."""
        [row] = self._connection.execute("SELECT tried, tries FROM positions").fetchall()
        return row

    def close(self) -> None:
        if self.current is not None and self.current.running:
            self.current.kill9()
        self.store.close()
        self._connection.close()


@pytest.fixture
def relays(settings: Settings) -> Iterator[Relays]:
    relays = Relays(settings)
    yield relays
    relays.close()


@pytest.mark.parametrize("way", ["function", "actor", "coroutine"])
def test_an_event_that_kills_is_parked_after_its_attempts(relays: Relays, way: str) -> None:
    """G38: once in its batch, then alone as often as it has attempts; all others are handled."""
    relays.append(AROUND[:6], "a")
    relays.append(AROUND[6:], "b")

    assert relays.run_until_one_lives(way, then="park") == 1 + ATTEMPTS

    sizes = [size for number, size, _ in relays.begun() if number == DEADLY]
    assert sizes == [sizes[0]] + [1] * ATTEMPTS
    [parked] = relays.store.parked("$all", NAME)
    assert (parked.position, parked.attempts) == (6, ATTEMPTS)
    assert "its process died" in parked.reason
    last = relays.handled()[-5:]
    assert last == AROUND[6:]
    assert set(relays.handled()) == {*AROUND} - {DEADLY}
    # Those before it in its batch, which was not acknowledged, come once more; an actor has them
    # in the order in which they came.
    assert max(Counter(relays.handled()).values()) <= 2


@pytest.mark.parametrize("way", ["function", "transactional"])
def test_an_event_that_kills_is_skipped_after_its_attempts(relays: Relays, way: str) -> None:
    """G38, G39: what a transaction wrote before it is there once."""
    relays.append(AROUND)

    assert relays.run_until_one_lives(way, then="skip") == 1 + ATTEMPTS

    assert relays.store.parked("$all", NAME) == []
    handled = Counter(relays.handled())
    assert set(handled) == {*AROUND} - {DEADLY}
    assert all(handled[number] == 1 for number in AROUND[6:])
    if way == "transactional":
        assert set(handled.values()) == {1}


def test_an_event_that_kills_stops_its_subscription(relays: Relays) -> None:
    """G38: the process lives, and says why."""
    relays.append(AROUND)

    assert relays.run_until_one_lives(then="stop") == 1 + ATTEMPTS

    info = relays.store.subscription_info("$all", NAME)
    assert info.state is SubscriptionState.STOPPED
    assert info.checkpoint == 5
    assert info.last_error is not None
    assert "its process died" in info.last_error
    assert relays.handled()[-1] == AROUND[4]


def test_a_parked_event_that_kills_again_is_parked_again(relays: Relays) -> None:
    """G38: it is not delivered again for ever, and what is parked after it stays in order."""
    relays.append([DEADLY, 1])
    relays.run_until_one_lives(then="park")
    assert relays.current is not None
    relays.current.end()
    before = len(relays.begun())
    assert relays.store.retry_parked("$all", NAME) == 2

    for _ in range(1 + ATTEMPTS):
        relays.start(then="park").exit_code()
    last = relays.start(then="park")
    wait_until(lambda: not any(e.is_marked for e in relays.store.parked("$all", NAME)))

    assert [row[2] for row in relays.begun()[before:]] == [True] * (1 + ATTEMPTS)
    assert [(e.position, e.attempts) for e in relays.store.parked("$all", NAME)] == [
        (1, 2 * ATTEMPTS),
        (2, 0),
    ]
    assert last.running
    assert relays.handled() == []


def test_what_is_stopped_in_time_has_no_attempts(relays: Relays) -> None:
    """G38: a stop takes them back, so they do not add up over a week."""
    relays.append([DEADLY])
    relays.start(then="park").exit_code()
    relays.start(then="park").exit_code()
    assert relays.noted() == (1, 1)
    relays.store.pause_subscription("$all", NAME)
    relay = relays.start(then="park")
    wait_until(lambda: relays.store.subscription_info("$all", NAME).epoch == 3)
    assert relays.noted() == (1, 1)
    relay.end()
    assert relays.noted() == (None, 0)


def test_kills_of_innocent_events_park_none(relays: Relays) -> None:
    """G38: ten kills at moments that have nothing to do with what is handled."""
    rng = random.Random(38)
    count = 600
    for number in range(count):
        relays.append([number], f"s-{number % 7}")
    for _ in range(10):
        before = len(relays.handled())
        relay = relays.start(then="park")
        until = before + rng.randrange(1, 40)
        wait_until(lambda until=until: len(relays.handled()) >= until)  # type: ignore[misc]
        relay.kill9()
    relays.start(then="park")
    wait_until(lambda: relays.store.subscription_info("$all", NAME).checkpoint == count)

    assert relays.store.parked("$all", NAME) == []
    assert set(relays.handled()) == {*range(count)}
