"""The commands for parked events, beside a running service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventstore import Config, EventData, Events, EventStore, ExpectedVersion, Retry
from tests.support.cli import Shell
from tests.support.waiting import wait_until

LIST = ("parked", "list", "shipping")


class Target:
    """Refuses the events of one stream, as long as it is closed."""

    def __init__(self) -> None:
        self.closed = True
        self.seen: list[int] = []

    def __call__(self, events: Events) -> None:
        for event in events:
            if self.closed and event.stream_id == "order-1":
                raise ValueError("no such product")
            self.seen.append(event.data)


@pytest.fixture
def shell(dsn: str, schema: str) -> Shell:
    shell = Shell(dsn, schema)
    shell.run("init")
    return shell


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def service(dsn: str, schema: str, shell: Shell, target: Target) -> Iterator[EventStore]:
    """A service with three parked events of ``order-1``."""
    with EventStore.connect(Config(dsn, schema=schema, poll_interval=0.2)) as store:
        for number in range(1, 4):
            for stream_id in ("order-1", "order-2"):
                store.append_to_stream(stream_id, ExpectedVersion.ANY, [EventData("T", number)])
        retry = Retry(first=0, longest=0, attempts=2, then="park")
        running = store.subscribe_to_all_streams("shipping", target, on_error=retry)
        wait_until(lambda: running.checkpoint == 6)
        yield store


def test_they_go_with_their_subscription_only_if_told_to(shell: Shell, service: EventStore) -> None:
    """G38."""
    complaint = shell.refused("subscriptions", "delete", "shipping", code=1)
    assert "has 3 parked events" in complaint
    [done] = shell.json("subscriptions", "reset", "shipping", "--to", "3")
    assert (done["done"], done["parked_dropped"]) == ("reset", 1)
    done = shell.run("subscriptions", "delete", "shipping", "--drop-parked")
    assert done.startswith("deleted shipping on $all; parked events dropped: ")


def test_parked_events_are_listed_and_shown(shell: Shell, service: EventStore) -> None:
    """G38."""
    listed = shell.json(*LIST)
    assert [(event["position"], event["key"]) for event in listed] == [
        (1, "order-1"),
        (3, "order-1"),
        (5, "order-1"),
    ]
    assert [event["attempts"] for event in listed] == [2, 0, 0]
    assert [e["position"] for e in shell.json(*LIST, "--after", "1", "--limit", "1")] == [3]
    table = shell.run(*LIST)
    assert "no such product" in table.splitlines()[1]
    shown = shell.run("parked", "show", "shipping", "1")
    assert "attempts  2" in shown
    assert "Traceback (most recent call last)" in shown
    assert len(service.parked("$all", "shipping")) == 3


def test_they_are_delivered_again_from_the_shell(
    shell: Shell, service: EventStore, target: Target
) -> None:
    """G38."""
    target.closed = False
    retry = ("parked", "retry", "shipping")
    assert shell.run(*retry, "--dry-run") == "parked events chosen: 3\n"
    assert len(service.parked("$all", "shipping")) == 3

    [told] = shell.json(*retry, "--key", "order-1", "--limit", "2", "--yes")

    assert (told["done"], told["events"]) == ("retry", 2)
    wait_until(lambda: [e.position for e in service.parked("$all", "shipping")] == [5])
    assert target.seen == [1, 2, 3, 1, 2]


def test_they_are_skipped_from_the_shell(shell: Shell, service: EventStore) -> None:
    """G38."""
    skip = ("parked", "skip", "shipping", "--reason", "of no use")
    assert shell.run(*skip, "--limit", "1", "--yes") == "parked events skipped: 1\n"
    assert [e.position for e in service.parked("$all", "shipping")] == [3, 5]
    assert shell.run(*skip, "--yes") == "parked events skipped: 2\n"
    assert shell.run(*LIST) == "no parked events\n"
