"""Subscribers and options that cannot work are refused by name, and create nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pykka
import pytest

from eventstore import (
    CallerRuntime,
    Config,
    Events,
    EventStore,
    ExpectedVersion,
    NotRunningError,
    Retry,
)
from eventstore.client.targets import registered_runtime
from tests.conformance.conftest import CHINESE
from tests.support.waiting import PATIENCE

ANY = ExpectedVersion.ANY


class Handler:
    def __call__(self, events: Events) -> None: ...


class Actor(pykka.ThreadingActor):
    """A subscriber whose class, not reference, is passed."""


async def coroutine(events: Events) -> None: ...


async def asynchronous_generator(events: Events) -> AsyncIterator[None]:
    yield


def generator(events: Events) -> Iterator[None]:
    yield


class WithMethods:
    async def coroutine(self, events: Events) -> None: ...

    async def __call__(self, events: Events) -> None: ...


@pytest.fixture
def actors(config: Config) -> Iterator[EventStore]:
    with EventStore.connect(config, runtime=registered_runtime()) as store:
        yield store


@pytest.mark.parametrize(
    ("subscriber", "message"),
    [
        (Handler, "class.*Handler"),
        (Actor, "class.*Actor"),
        (coroutine, "coroutine"),
        (partial(coroutine), "coroutine"),
        (WithMethods().coroutine, "coroutine"),
        (WithMethods(), "coroutine"),
        (asynchronous_generator, "generator"),
        (generator, "generator"),
        (None, "None"),
        ("print", "'print'"),
    ],
    ids=[
        "a class",
        "an actor class",
        "a coroutine function",
        "a partial of one",
        "a method that is one",
        "an object whose call is one",
        "an asynchronous generator function",
        "a generator function",
        "None",
        "text",
    ],
)
def test_what_cannot_do_the_work_cannot_subscribe(
    actors: EventStore, subscriber: Any, message: str
) -> None:
    """G19: it would seem to have acknowledged; the error names what to pass instead."""
    with pytest.raises(TypeError, match=rf"(?s)subscriber.*{message}"):
        actors.subscribe_to_all_streams("name", subscriber)

    assert actors.subscriptions() == []


@pytest.mark.parametrize("option", ["selector", "mapper"])
@pytest.mark.parametrize(
    "function",
    [
        coroutine,
        partial(coroutine),
        partial(partial(WithMethods())),
        WithMethods().coroutine,
        WithMethods(),
        asynchronous_generator,
        generator,
    ],
    ids=[
        "a coroutine function",
        "a partial of one",
        "a partial of a partial of an object",
        "a method that is one",
        "an object whose call is one",
        "an asynchronous generator function",
        "a generator function",
    ],
)
def test_what_would_never_run_cannot_select_or_map(
    actors: EventStore, option: Any, function: Any
) -> None:
    """F21, G19, G30: a coroutine is always true; the error names the option and what to pass."""
    with pytest.raises(TypeError, match=rf"(?s){option} cannot be .*pass a plain function"):
        actors.subscribe_to_all_streams("name", lambda events: None, **{option: function})

    assert actors.subscriptions() == []


class OwnRetry(Retry):
    """It might do anything in the subscription's actor."""

    def delay(self, attempt: int) -> float:
        raise RuntimeError("no delay")


def test_an_actor_or_its_proxy_is_not_its_reference(actors: EventStore) -> None:
    """G19: pass the `ActorRef`."""
    started: list[pykka.Actor] = []

    class Known(Actor):
        def on_start(self) -> None:
            started.append(self)

    reference = Known.start()
    try:
        proxy = reference.proxy()
        with pytest.raises(TypeError, match=r"(?s)subscriber.*ActorRef|actor_ref|reference"):
            actors.subscribe_to_all_streams("name", proxy)
        reference.ask("anything", timeout=PATIENCE)
        actor: Any = started.pop()
        with pytest.raises(TypeError, match=r"(?s)subscriber.*ActorRef|actor_ref|reference"):
            actors.subscribe_to_all_streams("name", actor)
        del actor
    finally:
        reference.stop()

    assert actors.subscriptions() == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"start_from": "begin"}, ValueError, "start_from must be .*'begin'"),
        ({"start_from": -1}, ValueError, "start_from must be .*: -1"),
        ({"start_from": 2**63}, ValueError, f"start_from must be .*: {2**63}"),
        ({"start_from": 1.5}, TypeError, "start_from must be .*1.5"),
        ({"start_from": True}, TypeError, "start_from must be .*True"),
        ({"batch_by": "type"}, ValueError, "batch_by must be .*'type'"),
        ({"when_owned": "steal"}, ValueError, "when_owned must be .*'steal'"),
        ({"max_batch_size": 0}, ValueError, "max_batch_size must be at least 1: 0"),
        ({"buffer_size": "5"}, TypeError, "buffer_size must be an int, not str: '5'"),
        ({"buffer_bytes": -1}, ValueError, "buffer_bytes must be at least 1: -1"),
        ({"ack_timeout": 0}, ValueError, "ack_timeout must be more than 0 seconds: 0"),
        ({"checkpoint_after": -1}, ValueError, "checkpoint_after must be 0.01 to .*: -1"),
        ({"checkpoint_threshold": 0}, ValueError, "checkpoint_threshold must be at least 1: 0"),
        ({"on_error": 3}, TypeError, "on_error must be a Retry: 3"),
        ({"on_error": OwnRetry()}, TypeError, "on_error must be a Retry: OwnRetry"),
        ({"selector": "x"}, TypeError, "selector must be callable: 'x'"),
        ({"mapper": {}}, TypeError, "mapper must be callable: {}"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(
    actors: EventStore, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """G28: and its value shown; nothing is created."""
    with pytest.raises(error, match=message):
        actors.subscribe_to_all_streams("name", lambda events: None, **options)

    assert actors.subscriptions() == []


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("", ValueError, "subscription_name must not be empty"),
        (CHINESE * 334, ValueError, "subscription_name is 1002 bytes"),
        ("a\x00", ValueError, "subscription_name must not contain NUL"),
        ("a\ud800", ValueError, "subscription_name must be valid Unicode"),
        (7, TypeError, "subscription_name must be a str, not int: 7"),
        (print, TypeError, "subscription_name must be a str"),
    ],
)
def test_what_cannot_name_a_subscription_is_refused(
    actors: EventStore, name: Any, error: type[Exception], message: str
) -> None:
    """G28: swapped with the subscriber, too."""
    with pytest.raises(error, match=message):
        actors.subscribe_to_all_streams(name, lambda events: None)


@pytest.mark.parametrize("arguments", [{"first": -1}, {"factor": 0.5}, {"attempts": 0}])
def test_a_retry_that_makes_no_sense_is_named(arguments: dict[str, Any]) -> None:
    """G28."""
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"{name} must be .*: {value}"):
        Retry(**arguments)


def test_without_actors_nothing_is_delivered(config: Config) -> None:
    """G32: and nobody waits for it: the error says why."""
    with (
        EventStore.connect(config, runtime=CallerRuntime) as store,
        pytest.raises(NotRunningError, match="'name' to '\\$all' needs a runtime with actors"),
    ):
        store.subscribe_to_all_streams("name", lambda events: None)
