"""The surface for coroutines is the one for threads: written from it, with every name."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from eventstore import AsyncEventStore, AsyncSubscription, EventStore, Subscription
from tests.surfaces import FILES

PLAIN = {"ack", "attach", "attempts", "checkpoint", "config", "connect", "dsn", "last_error"}
PLAIN |= {"nack", "state", "stream_id", "subscription_name"}
"""What never waits, or is awaited itself."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_generated_file_is_up_to_date(path: Path) -> None:
    assert path.read_text("utf-8") == FILES[path](), "run: make surfaces"


@pytest.mark.parametrize(
    ("threads", "coroutines"), [(EventStore, AsyncEventStore), (Subscription, AsyncSubscription)]
)
def test_both_have_the_same_names(threads: type, coroutines: type) -> None:
    """G42."""
    assert public(coroutines) == public(threads)


@pytest.mark.parametrize("kind", [AsyncEventStore, AsyncSubscription])
def test_what_waits_is_awaited(kind: type) -> None:
    """G42."""
    for name in public(kind) - PLAIN:
        method = inspect.getattr_static(kind, name)
        lazy = "Async" in str(inspect.signature(method).return_annotation)
        assert inspect.iscoroutinefunction(method) or lazy, name
        assert "Block" not in (method.__doc__ or ""), name


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}
