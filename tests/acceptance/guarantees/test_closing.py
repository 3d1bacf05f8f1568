"""Closing: under load, in time, and nothing stays behind."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from eventstore import (
    Config,
    EventData,
    Events,
    EventStore,
    EventStoreError,
    ExpectedVersion,
    NotRunningError,
    OutcomeUnknownError,
    SubscriptionState,
)
from tests.acceptance.guarantees.conftest import Record, Settings, Start, sessions
from tests.support.recorder import Seen, Stuck
from tests.support.waiting import PATIENCE, wait_until

CALLERS = 30


class Caller:
    """Appends one event after the other until it is refused, and remembers what it was told."""

    def __init__(self, store: EventStore, number: int) -> None:
        self._store = store
        self._stream = f"s-{number}"
        self.stored: list[EventData] = []
        self.refused: EventData | None = None
        self.error: EventStoreError | None = None

    def run(self) -> None:
        while self.error is None:
            event = EventData("X", len(self.stored))
            try:
                self._store.append_to_stream(self._stream, ExpectedVersion.ANY, [event])
            except EventStoreError as error:
                self.error, self.refused = error, event
            else:
                self.stored.append(event)


def test_closing_under_load_answers_every_append_and_leaves_no_connection(
    dsn: str, schema: str, settings: Settings, observer: EventStore, record: Record
) -> None:
    """G26: what was reported is stored, what was refused is not, and nothing else is."""
    config = {**settings, "dsn": settings["dsn"].replace(schema, f"{schema}_own")}
    threads_before = set(threading.enumerate())
    store = EventStore.connect(Config(**config))
    seen = Seen()
    recorder = record(seen)
    store.subscribe_to_all_streams("actor", recorder)
    store.subscribe_to_all_streams("function", Seen().handle)
    callers = [Caller(store, number) for number in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as threads:
        for caller in callers:
            threads.submit(caller.run)
        wait_until(lambda: len(seen.events) > 300)
        assert sessions(dsn, f"{schema}_own")
        began = time.monotonic()
        store.close()
        assert time.monotonic() - began < settings["stop_timeout"] + PATIENCE
        # Every accepted append is answered before close returns, or right then.
        wait_until(lambda: all(caller.error for caller in callers))
    recorder.stop()
    wait_until(lambda: not sessions(dsn, f"{schema}_own"))
    wait_until(lambda: not set(threading.enumerate()) - threads_before)

    stored = {event.event_id for event in observer.stream_all_forward()}
    reported = {event.event_id for caller in callers for event in caller.stored}
    assert reported <= stored
    unknown = set()
    for caller in callers:
        assert isinstance(caller.error, NotRunningError | OutcomeUnknownError)
        assert caller.refused is not None
        if isinstance(caller.error, OutcomeUnknownError):
            unknown.add(caller.refused.event_id)
    assert stored - reported <= unknown


def test_closing_waits_for_acks_in_flight_and_stores_them(
    settings: Settings, observer: EventStore
) -> None:
    """G26: the handler at work may finish; the next batch is not sent; the owner lets go."""
    stuck = Stuck()
    store = EventStore.connect(Config(**{**settings, "stop_timeout": PATIENCE}))
    store.subscribe_to_all_streams("sub", stuck, max_batch_size=1)
    store.append_to_stream("s", 0, [EventData("X", number) for number in range(3)])
    assert stuck.entered.wait(PATIENCE)
    closing = threading.Thread(target=store.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    stuck.released.set()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    info = observer.subscription_info("$all", "sub")
    assert (info.checkpoint, info.owner) == (1, None)
    assert stuck.positions == [1]


def test_closing_is_bounded_by_a_handler_that_does_not_return(
    settings: Settings, observer: EventStore
) -> None:
    """G26: its thread alone stays; what it did not acknowledge is delivered again."""
    stuck = Stuck()
    store = EventStore.connect(Config(**settings))
    subscription = store.subscribe_to_all_streams("sub", stuck)
    store.append_to_stream("s", 0, [EventData("X", 1)])
    assert stuck.entered.wait(PATIENCE)
    began = time.monotonic()
    store.close(timeout=0.5)
    assert time.monotonic() - began < PATIENCE
    assert observer.subscription_info("$all", "sub").owner is None
    assert subscription.state is SubscriptionState.STOPPED
    stuck.released.set()
    with EventStore.connect(Config(**settings)) as again:
        seen = Seen()
        again.subscribe_to_all_streams("sub", seen.handle)
        wait_until(lambda: seen.positions == [1])


def test_a_handler_may_close_its_own_store(settings: Settings, observer: EventStore) -> None:
    """G26: it does not wait for itself."""
    store = EventStore.connect(Config(**settings))
    took: list[float] = []

    def handle(events: Events) -> None:
        began = time.monotonic()
        store.close()
        took.append(time.monotonic() - began)

    store.subscribe_to_all_streams("sub", handle)
    store.append_to_stream("s", 0, [EventData("X", 1)])
    wait_until(lambda: took)
    assert took[0] < settings["stop_timeout"] + PATIENCE
    wait_until(lambda: observer.subscription_info("$all", "sub").owner is None)


def test_sigterm_closes_a_service_that_joins_in_order(start: Start, observer: EventStore) -> None:
    """G26: everything acknowledged is stored, the subscription is free, the exit code is 0."""
    (service,) = start(lease=60.0)
    service.do("subscribe_callable", name="sub")
    service.do("write", streams=["s"], seed=0)
    service.wait("appended", count=20)
    service.do("join").wait("joining")
    service.wait("appended", count=len(service.reports("appended")) + 20)
    service.signal(signal.SIGTERM)
    assert service.exit_code(timeout=PATIENCE) == 0
    assert service.reports("joined")
    info = observer.subscription_info("$all", "sub")
    assert info.owner is None
    assert info.checkpoint == service.delivered("sub")[-1][0]
    stored = {str(event.event_id) for event in observer.stream_all_forward()}
    for report in service.reports("appended"):
        assert set(report["ids"]["s"]) <= stored
