"""What a projection cannot be is refused where it is described."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore import Events, Projection
from eventstore.model.subscription import BatchBy


def handle(_events: Events, _connection: Any) -> None: ...


async def handle_on_a_loop(_events: Events, _connection: Any) -> None: ...


def change(_connection: Any) -> None: ...


async def change_on_a_loop(_connection: Any) -> None: ...


def test_its_subscription_is_transactional_and_takes_large_batches() -> None:
    projection = Projection("orders", 2, handle)
    assert projection.subscription_name == "orders@2"
    assert repr(projection) == "<Projection orders@2>"
    assert not projection.is_for_loops
    options = projection.options
    assert (options.transactional, options.batch_by) == (True, BatchBy.ANY)
    assert (options.max_batch_size, options.buffer_size) == (5_000, 10_000)
    assert Projection("orders", 2, handle, max_batch_size=7).options.max_batch_size == 7


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("", 1, "name must not be empty"),
        ("x" * 999, 1, "name with its version is 1001 bytes of UTF-8"),
        ("x", 0, "version must be 1 to 2,147,483,647: 0"),
        ("x", 2**31, "version must be 1 to 2,147,483,647: 2147483648"),
    ],
)
def test_name_and_version_make_the_name_of_a_subscription(
    name: str, version: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Projection(name, version, handle)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"handle": lambda _events: None}, r"handle takes \(events, connection\)"),
        ({"handle": None}, "handle must be callable: None"),
        ({"create": lambda: None}, r"create takes \(connection\)"),
        ({"switch": handle}, r"switch takes \(connection\)"),
        ({"drop": 1}, "drop must be callable: 1"),
        ({"create": lambda _: (yield)}, "a generator function would never run"),
        ({"create": change_on_a_loop}, "create must be a plain function, as handle is"),
        ({"transactional": True}, "transactional cannot be given"),
        ({"no_such_option": 1}, "'no_such_option' is not an option"),
    ],
)
def test_functions_and_options_must_fit(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Projection("orders", 1, **{"handle": handle, **given})


def test_all_functions_run_on_a_loop_or_none_does() -> None:
    projection = Projection(
        "orders",
        1,
        handle_on_a_loop,
        create=change_on_a_loop,
        switch=change_on_a_loop,
        drop=change_on_a_loop,
    )
    assert projection.is_for_loops
    with pytest.raises(TypeError, match="drop must be a coroutine function, as handle is"):
        Projection("orders", 1, handle_on_a_loop, drop=change)
