"""The database is away: calls end at their deadlines, and everything resumes by itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import sql

from eventstore import (
    CallerRuntime,
    Config,
    EventData,
    EventStore,
    EventStoreError,
    ExpectedVersion,
    OutcomeUnknownError,
    StorageUnavailableError,
    SubscriptionState,
)
from tests.acceptance.guarantees.conftest import Record, Settings, installed, wait_for_checkpoint
from tests.support.late_answers import expect_late_answers
from tests.support.pgserver import TestServer
from tests.support.proxy import Proxy
from tests.support.recorder import Seen
from tests.support.waiting import PATIENCE, wait_until


def timed(call: Callable[[], Any]) -> tuple[float, EventStoreError]:
    """Call what must fail; return its seconds and its error."""
    began = time.monotonic()
    with pytest.raises(EventStoreError) as failed:
        call()
    return time.monotonic() - began, failed.value


def test_calls_end_at_their_deadlines_and_everything_resumes_when_the_server_is_back(
    private_server: TestServer, record: Record
) -> None:
    """G25, G24, G13: stopped, for longer than some wait and shorter than others."""
    settings = {**installed(private_server.dsn, "away"), "connect_timeout": 1.0}
    seen, called = Seen(), Seen()
    with EventStore.connect(Config(**settings)) as store, ThreadPoolExecutor(4) as threads:
        actor = store.subscribe_to_all_streams("actor", record(seen))
        function = store.subscribe_to_all_streams("function", called.handle)
        store.append_to_stream("s", 0, [EventData("X", 0)])
        wait_until(lambda: len(seen.events) == len(called.events) == 1)
        private_server.stop("fast")

        patient = threads.submit(store.append_to_stream, "t", 0, [EventData("X", 1)], timeout=60)
        for timeout in (0.3, 1.0):
            never = [EventData("Never", 1)]
            took, error = timed(
                partial(store.append_to_stream, "s", ExpectedVersion.ANY, never, timeout=timeout)
            )
            assert isinstance(error, StorageUnavailableError), "it was never sent"
            assert error.retryable
            assert took < timeout + PATIENCE
        took, error = timed(store.read_all_streams_forward)
        assert isinstance(error, StorageUnavailableError)
        assert took < 1.0 + PATIENCE
        took, error = timed(lambda: EventStore.connect(Config(**settings)))
        assert isinstance(error, StorageUnavailableError)
        assert took < 1.0 + PATIENCE
        wait_until(lambda: not store.health().database_reachable)
        wait_until(lambda: actor.state is function.state is SubscriptionState.WAITING)
        assert not patient.done()

        private_server.start()
        back = time.monotonic()
        assert patient.result(timeout=60).last_version == 1
        wait_until(lambda: 2 in seen.positions and 2 in called.positions)
        assert time.monotonic() - back < PATIENCE
        result = store.append_to_stream("s", 1, [EventData("X", 2)])
        actor.wait_for(result, timeout=PATIENCE)
        function.wait_for(result, timeout=PATIENCE)
        assert [event.data for event in store.read_all_streams_forward()] == [0, 1, 2]
        wait_until(lambda: store.health().running and store.health().database_reachable)


@contextmanager
def frozen_backends(server: TestServer, name: str) -> Iterator[None]:
    """Stop every server process of the store as an overloaded machine would, for the block."""
    backends = server.backends(name)
    assert backends
    for pid in backends:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in backends:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("runtime", [None, CallerRuntime])
def test_no_call_outlives_its_deadline_on_a_server_that_hangs(
    private_server: TestServer, runtime: type[CallerRuntime] | None
) -> None:
    """G25, G6: its processes are frozen; connections stay open and new ones are accepted."""
    settings = {**installed(private_server.dsn, "hangs"), "connect_timeout": 1.0}
    event = EventData("Once", 1)
    with EventStore.connect(Config(**settings), runtime=runtime) as store:
        store.append_to_stream("s", 0, [EventData("X", 0)])
        store.read_all_streams_forward()
        with frozen_backends(private_server, "hangs"):
            took, error = timed(lambda: store.append_to_stream("s", 1, [event], timeout=1.0))
            assert isinstance(error, OutcomeUnknownError)
            assert took < 1.0 + PATIENCE
            took = elapsed(store.read_all_streams_forward)
            assert took < 1.0 + PATIENCE
        result = store.append_to_stream("s", 1, [event], timeout=20)
        assert (result.last_version, result.last_global_position) == (2, 2)
        assert len(store.read_all_streams_forward()) == 2


def elapsed(call: Callable[[], Any]) -> float:
    """Return the seconds of a call that may succeed, or tell that the storage is unavailable."""
    began = time.monotonic()
    with suppress(StorageUnavailableError):
        call()
    return time.monotonic() - began


@pytest.mark.parametrize("runtime", [None, CallerRuntime])
@pytest.mark.parametrize(
    "statement", ["LOCK TABLE {events}", "SELECT FROM {write_lock} FOR UPDATE"]
)
def test_an_append_that_does_not_get_the_lock_in_time_wrote_nothing_and_says_so(
    settings: Settings,
    runtime: type[CallerRuntime] | None,
    statement: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G25, G1: somebody else holds it."""
    expect_late_answers(monkeypatch)
    names = {n: sql.Identifier(settings["schema"], n) for n in ("events", "write_lock")}
    with (
        EventStore.connect(Config(**settings), runtime=runtime) as store,
        psycopg.connect(settings["dsn"]) as other,
    ):
        store.append_to_stream("s", 0, [EventData("X", 0)])
        other.execute(sql.SQL(statement).format(**names))
        for timeout in (2.0, 4.0):
            never = [EventData("Never", 1)]
            took, error = timed(partial(store.append_to_stream, "s", 1, never, timeout=timeout))
            assert isinstance(error, StorageUnavailableError)
            assert took < timeout + PATIENCE
        other.rollback()
        assert store.append_to_stream("s", 1, [EventData("X", 1)]).last_global_position == 2


@pytest.fixture
def proxy(settings: Settings) -> Iterator[Proxy]:
    with Proxy(settings["dsn"]) as proxy:
        yield proxy


@pytest.fixture
def afar(settings: Settings, proxy: Proxy) -> Settings:
    """The settings of the store, by way of the proxy."""
    return {**settings, "dsn": proxy.dsn, "connect_timeout": 1.0}


@pytest.mark.parametrize("runtime", [None, CallerRuntime])
def test_no_call_outlives_its_deadline_on_a_black_holed_connection(
    afar: Settings, proxy: Proxy, observer: EventStore, runtime: type[CallerRuntime] | None
) -> None:
    """G25: the network accepts and confirms everything, and nothing arrives."""
    event = EventData("Once", 1)
    with EventStore.connect(Config(**afar), runtime=runtime) as store:
        store.append_to_stream("s", 0, [EventData("X", 0)])
        store.read_all_streams_forward()
        proxy.swallow()
        took, error = timed(lambda: store.append_to_stream("s", 1, [event], timeout=1.0))
        assert isinstance(error, OutcomeUnknownError | StorageUnavailableError)
        assert took < 1.0 + PATIENCE
        took, error = timed(store.read_all_streams_forward)
        assert isinstance(error, StorageUnavailableError)
        assert took < 1.0 + PATIENCE
        took, error = timed(lambda: store.stream_info("s"))
        assert isinstance(error, StorageUnavailableError)
        assert took < 1.0 + PATIENCE
        proxy.pass_on()
        # The same ids again: one event, whatever became of the first attempt.
        result = store.append_to_stream("s", 1, [event], timeout=20)
        assert result.last_version == 2
    assert [event.data for event in observer.read_all_streams_forward()] == [0, 1]


def test_an_append_whose_answer_was_swallowed_is_unknown_and_is_stored_once(
    afar: Settings, proxy: Proxy, observer: EventStore
) -> None:
    """G25, G24, G6: the server got it, its answer is lost."""
    event = EventData("Once", 1)
    with EventStore.connect(Config(**afar)) as store:
        store.append_to_stream("s", 0, [EventData("X", 0)])
        proxy.swallow(after_bytes_to_server=10_000_000)
        took, error = timed(lambda: store.append_to_stream("s", 1, [event], timeout=1.0))
        assert isinstance(error, OutcomeUnknownError)
        assert error.retryable
        assert took < 1.0 + PATIENCE
        wait_until(lambda: len(observer.read_stream_forward("s")) == 2)
        proxy.pass_on()
        result = store.append_to_stream("s", 1, [event], timeout=20)
        assert (result.first_version, result.last_global_position) == (2, 2)
    assert len(observer.read_all_streams_forward()) == 2


def test_a_lost_answer_is_found_again_within_the_deadline(
    afar: Settings, proxy: Proxy, observer: EventStore
) -> None:
    """G6, G24: connections cut under load; each append repeats itself with the same ids."""
    with EventStore.connect(Config(**afar)) as store, ThreadPoolExecutor(2) as threads:
        stop = [False]

        def append(stream: str) -> int:
            version = 0
            while not stop[0]:
                result = store.append_to_stream(stream, version, [EventData("X", version)])
                assert result.last_version == version + 1
                version += 1
            return version

        calls = [threads.submit(append, stream) for stream in ("a", "b")]
        for _ in range(8):
            head = observer.stream_info("$all").stream_version
            wait_until(partial(grown, observer, head + 20))
            proxy.cut()
        stop[0] = True
        counts = [call.result(timeout=60) for call in calls]
    assert [observer.stream_info(stream).stream_version for stream in ("a", "b")] == counts


def grown(store: EventStore, head: int) -> bool:
    return store.stream_info("$all").stream_version >= head


def test_connecting_and_closing_are_bounded_on_a_black_holed_connection(
    afar: Settings, proxy: Proxy, record: Record
) -> None:
    """G25, G26."""
    seen = Seen()
    store = EventStore.connect(Config(**afar))
    try:
        store.subscribe_to_all_streams("sub", record(seen, acks=False))
        store.append_to_stream("s", 0, [EventData("X", 0)])
        seen.wait(1)
        proxy.swallow()
        took, error = timed(lambda: EventStore.connect(Config(**afar)))
        assert isinstance(error, StorageUnavailableError)
        assert took < 1.0 + PATIENCE
    finally:
        began = time.monotonic()
        store.close(timeout=1.0)
        assert time.monotonic() - began < 1.0 + PATIENCE


def test_subscriptions_resume_by_themselves_after_a_black_hole(
    afar: Settings, proxy: Proxy, observer: EventStore, record: Record
) -> None:
    """G25, G13, G23: appended by others meanwhile."""
    seen = Seen()
    with EventStore.connect(Config(**afar)) as store:
        store.subscribe_to_all_streams("sub", record(seen))
        observer.append_to_stream("s", 0, [EventData("X", 0)])
        wait_until(lambda: seen.positions == [1])
        proxy.swallow()
        observer.append_to_stream("s", 1, [EventData("X", 1)])
        wait_until(lambda: not store.health().database_reachable)
        observer.append_to_stream("s", 2, [EventData("X", 2)])
        proxy.pass_on()
        wait_until(lambda: {1, 2, 3} == set(seen.positions))
        wait_for_checkpoint(observer, 3)
