from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventstore import (
    Config,
    EventData,
    Events,
    EventStore,
    ExpectedVersion,
    Park,
    SubscriptionState,
)
from tests.support.cli import Shell
from tests.support.waiting import wait_until


@pytest.fixture
def shell(dsn: str, schema: str) -> Shell:
    shell = Shell(dsn, schema)
    shell.run("init")
    return shell


@pytest.fixture
def service(dsn: str, schema: str, shell: Shell) -> Iterator[EventStore]:
    """A running service, with the actors."""
    with EventStore.connect(Config(dsn, schema=schema, poll_interval=0.2)) as store:
        yield store


def append(store: EventStore, *values: int) -> None:
    store.append_to_stream("s", ExpectedVersion.ANY, [EventData("T", value) for value in values])


def test_a_pause_from_the_shell_reaches_a_running_service(
    shell: Shell, service: EventStore
) -> None:
    """G20."""
    seen: list[int] = []
    running = service.subscribe_to_all_streams(
        "shipping", lambda events: seen.extend(event.data for event in events)
    )
    append(service, 1)
    wait_until(lambda: seen == [1])
    assert shell.run("subscriptions", "pause", "shipping") == "paused shipping on $all\n"
    wait_until(lambda: running.state is SubscriptionState.PAUSED)
    append(service, 2)
    [info] = shell.json("subscriptions", "list")
    assert (info["paused"], info["lag_events"]) == (True, 1)
    assert seen == [1]
    assert shell.run("subscriptions", "resume", "shipping") == "resumed shipping on $all\n"
    wait_until(lambda: seen == [1, 2])


def test_a_reset_from_the_shell_delivers_again(shell: Shell, service: EventStore) -> None:
    seen: list[int] = []
    running = service.subscribe_to_stream(
        "s", "shipping", lambda events: seen.extend(event.data for event in events)
    )
    append(service, 1, 2, 3)
    wait_until(lambda: running.checkpoint == 3)
    command = ["subscriptions", "reset", "shipping", "--stream", "s", "--to", "1"]
    assert shell.run(*command) == "reset to 1: shipping on s\n"
    wait_until(lambda: seen == [1, 2, 3, 2, 3])
    assert "shipping" in shell.run("subscriptions", "list")


def test_a_delete_from_the_shell_stops_the_subscription(shell: Shell, service: EventStore) -> None:
    running = service.subscribe_to_all_streams("shipping", lambda events: None)
    shell.run("subscriptions", "delete", "shipping")
    wait_until(lambda: running.state is SubscriptionState.STOPPED)
    assert shell.run("subscriptions", "list") == "no subscriptions\n"


def test_status_shows_owner_state_lag_and_the_last_error(shell: Shell, service: EventStore) -> None:
    """G30, G32: seen from another process."""

    def ship(events: Events) -> None:
        raise RuntimeError(f"no van for {len(events)} events")

    service.subscribe_to_all_streams("shipping", ship)
    append(service, 1, 2)

    def failing() -> bool:
        [info] = shell.json("status")[0]["subscriptions"]
        return bool(info["last_error"]) and info["state"] == "retrying"

    wait_until(failing)
    [status] = shell.json("status")
    assert (status["head"], status["streams"]) == (2, 1)
    [info] = status["subscriptions"]
    assert (info["checkpoint"], info["head"], info["lag_events"]) == (0, 2, 2)
    assert info["lag_seconds"] > 0
    assert info["owner"]
    text = shell.run("status")
    assert "retrying" in text
    assert "no van for" in text
    assert info["owner"] in text


def test_one_is_shown_with_its_options_and_what_it_has_parked(
    shell: Shell, service: EventStore
) -> None:
    """G32, G38, G40."""

    def ship(events: Events) -> None:
        raise Park("no such product")

    append(service, 1, 2)
    running = service.subscribe_to_all_streams("shipping", ship, event_types=["T", "U"])
    wait_until(lambda: running.checkpoint == 2)
    wait_until(lambda: running.state is SubscriptionState.LIVE)
    [info] = shell.json("subscriptions", "show", "shipping")
    assert (info["parked"], info["lag_events"]) == (2, 0)
    assert info["options"] == {"keep_order": True, "event_types": ["T", "U"]}
    lines = shell.run("subscriptions", "show", "shipping").splitlines()
    assert lines[0] == "subscription  shipping"
    assert "checkpoint    2 of 2" in lines
    assert "lag           0" in lines
    assert any(line.startswith("parked        2, the oldest for ") for line in lines)
    assert 'event_types   ["T", "U"]' in lines
    [row] = [line for line in shell.run("status").splitlines() if line.startswith("shipping")]
    assert row.split()[2:7] == ["live", "2", "0", "0", "s"]
    assert row.split()[7] == "2"


def test_an_unknown_one_cannot_be_shown(shell: Shell, service: EventStore) -> None:
    service.subscribe_to_stream("s", "shipping", lambda events: None)
    complaint = shell.refused("subscriptions", "show", "shipping", code=1)
    assert complaint == "no subscription 'shipping' to '$all'; there is one to 's' (--stream)"


@pytest.mark.parametrize("action", [["pause"], ["resume"], ["delete"], ["reset", "--to", "0"]])
def test_an_unknown_subscription_is_refused(shell: Shell, action: list[str]) -> None:
    complaint = shell.refused("subscriptions", *action, "shipping", code=1)
    assert complaint == "no subscription 'shipping' to '$all'"


def test_a_subscription_to_another_stream_is_pointed_at(shell: Shell, service: EventStore) -> None:
    service.subscribe_to_stream("s", "shipping", lambda events: None)
    complaint = shell.refused("subscriptions", "pause", "shipping", code=1)
    assert complaint == "no subscription 'shipping' to '$all'; there is one to 's' (--stream)"


def test_a_reset_beyond_the_head_is_wrong_usage(shell: Shell, service: EventStore) -> None:
    service.subscribe_to_all_streams("shipping", lambda events: None)
    shell.refused("subscriptions", "reset", "shipping", "--to", "1", code=2)


def test_the_list_can_be_narrowed_to_a_stream(shell: Shell, service: EventStore) -> None:
    service.subscribe_to_all_streams("one", lambda events: None)
    service.subscribe_to_stream("s", "two", lambda events: None)
    [info] = shell.json("subscriptions", "list", "--stream", "s")
    assert info["subscription_name"] == "two"
