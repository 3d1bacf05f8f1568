"""Live: latency from the call of append to the subscriber, or to the answer.

The event carries the time of the call; the receiver reads the clock before anything else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import msgspec
import pykka
from uuid_utils.compat import uuid7

from benchmarks.contenders.arena import Arena
from benchmarks.contenders.bare_subscriber import BareSubscriber
from benchmarks.contenders.load import EVENT_TYPE, new_stream
from benchmarks.contenders.ours import Ours
from benchmarks.contenders.ours_asyncio import OursAsyncio
from benchmarks.contenders.uma import Uma
from benchmarks.measuring.workload import Measurement, Round, Run, Workload
from benchmarks.workloads.live_case import PER_SECOND, TIMEOUT, WRITERS, Live, measurement, stamped
from benchmarks.workloads.loop_live import live_in_loop
from eventstore import EventData, Events, EventStore, ExpectedVersion, SubscriptionState

__all__ = ["workloads"]

Append = Callable[[object], object]
"""Appends one event with this payload to a new stream."""


def workloads(arena: Arena) -> Iterator[Workload]:
    """Yield appends at an even pace, then under load; others take part with few subscribers.

    Where the case says actors, the other contenders have what subscribes to them: a coroutine
    function, a thread that reads.
    """
    for case in _cases(arena):
        store, heard = arena.open(Ours).store, case.subscriptions > 0
        contenders: dict[str, Run] = {"ours": partial(_ours if heard else _ours_alone, store, case)}
        if case.subscriber == "actor":
            contenders["asyncio"] = partial(live_in_loop, arena.open(OursAsyncio).store, case)
        if case.subscriptions <= 1 and case.subscriber == "actor":
            contenders["bare"] = partial(_bare if heard else _bare_alone, store.dsn, case)
        if case.subscriptions <= 10 and case.subscriber == "actor" and Uma.missing() is None:
            contenders["umadb"] = partial(_uma if heard else _uma_alone, arena.open(Uma), case)
        yield Workload(
            name=case.name,
            group="live",
            unit="ms",
            better="lower",
            contenders=contenders,
            panel=case.pace,
            label=case.listeners,
            rounds=case.rounds,
        )


def _cases(arena: Arena) -> list[Live]:
    """Return the cases; those without subscriptions come first, as a store that had one listens."""
    pick = arena.scale.pick
    few, many, most = pick((10, 50, 500), (10, 50, 500), (2, 3, 4))
    even = partial(Live, appends=pick(400, 100, 3), rounds=pick(3, 1, 1))
    loaded = partial(Live, loaded=True, rounds=pick(3, 1, 1))
    cases = [
        even(subscriptions=0),
        even(),
        even(subscriber="function"),
        even(subscriptions=many),
        even(subscriptions=most, appends=pick(100, 50, 3), rounds=1),
        loaded(appends=pick(5_000, 1_000, WRITERS)),
        loaded(appends=pick(1_000, 200, WRITERS), subscriptions=many),
    ]
    more = [
        even(subscriptions=few),
        even(subscriptions=many, subscriber="function"),
        loaded(appends=pick(2_000, 0, WRITERS), subscriptions=few),
        loaded(appends=pick(200, 0, WRITERS), subscriptions=most, rounds=1),
    ]
    return sorted(cases + pick(more, [], more), key=lambda case: (case.loaded, case.subscriptions))


# ── appending ────────────────────────────────────────────────────────────────────────────────────


def _append_all(case: Live, appends: Sequence[Append]) -> None:
    """Make all appends of *case* with one function per writer."""
    if case.loaded:
        with ThreadPoolExecutor(len(appends)) as threads:
            each = case.appends // len(appends)
            for done in [threads.submit(_one_after_the_other, each, one) for one in appends]:
                done.result()
    else:
        _evenly(case.appends, appends[0])


def _one_after_the_other(number: int, append: Append) -> None:
    for _ in range(number):
        append(stamped(time.perf_counter()))


def _evenly(number: int, append: Append) -> None:
    """Append at an even pace; the latency of a late append counts from when it was due."""
    start = time.perf_counter()
    for place in range(number):
        due = start + place / PER_SECOND
        late = time.perf_counter() >= due
        time.sleep(max(0.0, due - time.perf_counter()))
        append(stamped(due if late else time.perf_counter()))


def _answers(append: Append, case: Live) -> Measurement:
    """Append at an even pace and measure how long each call takes."""
    latencies: list[float] = []

    def timed(data: Any) -> None:
        append(data)
        latencies.append(time.perf_counter() - data["at"])

    cpu = time.process_time()
    _append_all(case, [timed])
    return measurement(case, latencies, time.process_time() - cpu)


# ── ours ─────────────────────────────────────────────────────────────────────────────────────────


class _Receiver(pykka.ThreadingActor):
    def __init__(self, latencies: list[float]) -> None:
        super().__init__()
        self._latencies = latencies

    def on_receive(self, message: object) -> None:
        if isinstance(message, Events):
            _note(self._latencies, message)
            message.subscription.ack(message)


def _note(latencies: list[float], events: Events) -> None:
    now = time.perf_counter()
    latencies.extend([now - event.data["at"] for event in events])


def _append_to_ours(store: EventStore, data: object) -> None:
    event = EventData(EVENT_TYPE, data)
    store.append_to_stream(new_stream(), ExpectedVersion.NO_STREAM, [event])


def _ours_alone(store: EventStore, case: Live, _: Round) -> Measurement:
    return _answers(partial(_append_to_ours, store), case)


def _ours(store: EventStore, case: Live, _: Round) -> Measurement:
    latencies: list[float] = []
    with _subscribed(store, case, latencies) as subscriptions:
        cpu = time.process_time()
        _append_all(case, [partial(_append_to_ours, store)] * WRITERS)
        [last] = store.read_all_streams_backward(count=1)
        for subscription in subscriptions:
            subscription.wait_for(last, TIMEOUT)
        cpu = time.process_time() - cpu
    return measurement(case, latencies, cpu)


@contextmanager
def _subscribed(store: EventStore, case: Live, latencies: list[float]) -> Iterator[list[Any]]:
    """Keep the subscriptions of *case* open, all of them live."""
    with ExitStack() as leaving:
        subscriptions = []
        for _ in range(case.subscriptions):
            subscriber: Any = partial(_note, latencies)
            if case.subscriber == "actor":
                subscriber = _Receiver.start(latencies)
                leaving.callback(subscriber.stop)
            subscription = store.subscribe_to_all_streams(
                f"live-{uuid4()}", subscriber, start_from="current"
            )
            leaving.callback(subscription.unsubscribe)
            subscriptions.append(subscription)
        while any(one.state is not SubscriptionState.LIVE for one in subscriptions):
            time.sleep(0.01)
        yield subscriptions


# ── bare ─────────────────────────────────────────────────────────────────────────────────────────


def _bare_alone(dsn: str, case: Live, _: Round) -> Measurement:
    with closing(BareSubscriber(dsn)) as writer:
        return _answers(lambda data: writer.append_each([data]), case)


def _bare(dsn: str, case: Live, _: Round) -> Measurement:
    """Append in one loop and listen in another thread; under load a commit serves all writers."""
    latencies: list[float] = []
    with ExitStack() as closing:
        writer, listener = BareSubscriber(dsn), BareSubscriber(dsn)
        closing.callback(writer.close)
        closing.callback(listener.close)
        threads = closing.enter_context(ThreadPoolExecutor(1))
        ready = threading.Event()
        followed = threads.submit(
            listener.follow,
            case.appends,
            lambda event: latencies.append(time.perf_counter() - event.data["at"]),
            ready,
        )
        assert ready.wait(TIMEOUT)
        cpu = time.process_time()
        if case.loaded:
            groups = case.appends // WRITERS
            _one_after_the_other(groups, lambda data: writer.append_each([data] * WRITERS))
        else:
            _evenly(case.appends, lambda data: writer.append_each([data]))
        followed.result(TIMEOUT)
        cpu = time.process_time() - cpu
    return measurement(case, latencies, cpu)


# ── umadb ────────────────────────────────────────────────────────────────────────────────────────


def _uma_alone(uma: Uma, case: Live, _: Round) -> Measurement:
    return _answers(partial(_append_to_uma, uma), case)


def _uma(uma: Uma, case: Live, _: Round) -> Measurement:
    """Append, and follow the stream of events in a thread per subscription."""
    latencies: list[float] = []
    with ThreadPoolExecutor(case.subscriptions) as threads:
        head = uma.client.head()
        streams = [uma.client.subscribe(after=head) for _ in range(case.subscriptions)]
        followed = [threads.submit(_follow, one, case.appends, latencies) for one in streams]
        cpu = time.process_time()
        _append_all(case, [partial(_append_to_uma, uma)] * WRITERS)
        for one in followed:
            one.result(TIMEOUT)
        cpu = time.process_time() - cpu
        for stream in streams:
            stream.cancel()
    return measurement(case, latencies, cpu)


def _append_to_uma(uma: Uma, data: object) -> None:
    import umadb

    stream = new_stream()
    unless_exists = umadb.AppendCondition(umadb.Query([umadb.QueryItem(tags=[stream])]))
    event = umadb.Event(EVENT_TYPE, msgspec.json.encode(data), [stream], uuid7())
    uma.client.append([event], unless_exists)


def _follow(stream: Any, number: int, latencies: list[float]) -> None:
    for _ in range(number):
        data = msgspec.json.decode(next(stream).event.data)
        latencies.append(time.perf_counter() - data["at"])
