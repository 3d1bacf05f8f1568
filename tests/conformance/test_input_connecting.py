"""What cannot be connected to, or not any more, is told at once and by its own error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from eventstore import (
    CallerRuntime,
    Config,
    EventStore,
    ExpectedVersion,
    NotRunningError,
)
from eventstore.client.targets import registered_runtime
from tests.conformance.conftest import Connect, numbered
from tests.support.waiting import PATIENCE

ANY = ExpectedVersion.ANY


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"schema": ""}, ValueError, "schema must not be empty"),
        ({"schema": "s" * 57}, ValueError, "schema is 57 bytes of UTF-8, at most 56"),
        ({"schema": "pg_mine"}, ValueError, "schema .*'pg_mine'"),
        ({"pool_size": 0}, ValueError, "pool_size must be at least 1: 0"),
        ({"pool_size": "10"}, TypeError, "pool_size must be an int, not str: '10'"),
        ({"lease": -1}, ValueError, "lease must be .*: -1"),
        ({"append_timeout": math.nan}, ValueError, "append_timeout must be .*: nan"),
        ({"poll_interval": "1"}, TypeError, "poll_interval must be seconds, not str: '1'"),
        ({"allow_unsafe_durability": 1}, TypeError, "allow_unsafe_durability must be a bool"),
        ({"types": [7]}, TypeError, "types must hold classes.*7"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    """G28: and its value shown."""
    with pytest.raises(error, match=message):
        EventStore.connect(Config("memory:", **settings), runtime=CallerRuntime)


@pytest.mark.parametrize("dsn", ["", "a\x00b"])
def test_no_connection_string_at_all(dsn: str) -> None:
    """G28."""
    with pytest.raises(ValueError, match="dsn must be text without NUL, not empty"):
        EventStore.connect(dsn, runtime=CallerRuntime)


@pytest.mark.parametrize("runtime_name", ["absent", ""])
def test_a_runtime_that_is_not_installed_is_named(runtime_name: str) -> None:
    """G28."""
    with pytest.raises(NotRunningError, match=f"no runtime '{runtime_name}' is registered"):
        registered_runtime(runtime_name)


@pytest.mark.parametrize(
    "use",
    [
        lambda s: s.append_to_stream("order-1", ANY, numbered(1, 1)),
        lambda s: s.append_to_streams([("order-1", 0, numbered(1, 1))]),
        lambda s: s.read_stream_forward("order-1"),
        lambda s: s.read_all_streams_forward(),
        lambda s: s.stream_all_forward(),
        lambda s: s.stream_info("$all"),
        lambda s: s.subscribe_to_all_streams("name", lambda events: None),
        lambda s: s.subscriptions(),
        lambda s: s.health(),
    ],
    ids=[
        "append",
        "append to several",
        "read",
        "read all",
        "iterate",
        "info",
        "subscribe",
        "subscriptions",
        "health",
    ],
)
def test_a_closed_store_says_so(connect: Connect, use: Callable[[EventStore], object]) -> None:
    """G26: every call, and closing again is harmless."""
    store = connect()
    store.close()

    with pytest.raises(NotRunningError, match="closed"):
        use(store)

    store.close()


def test_a_closed_store_is_joined_at_once(connect: Connect) -> None:
    """G26: it has ended, which is what was waited for."""
    store = connect()
    store.close()

    store.join(timeout=PATIENCE)


def test_an_iteration_that_outlives_the_store_is_told(connect: Connect) -> None:
    """G26, G11: at its next page."""
    store = connect()
    store.append_to_stream("order-1", 0, numbered(1, 4))
    iterator = store.stream_forward("order-1", batch_size=2)
    store.close()

    with pytest.raises(NotRunningError, match="closed"):
        list(iterator)
