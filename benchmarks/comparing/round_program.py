"""Run one round of one workload: the program that both sides of a comparison run.

It runs as a script in the environment of its side, so it imports nothing of this project but the
public API of the store, which both sides have. It prints the round as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import psutil

import eventstore
from eventstore import (
    Config,
    EventData,
    Events,
    EventStore,
    ExpectedVersion,
    SubscriptionState,
)

__all__ = ["WORKLOADS", "ComparedWorkload", "RoundResult"]

_PAYLOAD = {"sku": "A-4711", "quantity": 3, "price": 19.9, "customer": "c-000123", "note": "x" * 24}
_READ_STREAM = "read"
_READ_EVENTS = 100
_CATCH_UP_EVENTS = 50_000
_LIVE_PER_SECOND = 100
_THREADS_PER_STORE = 4
_TIMEOUT = 60.0

Stores = Sequence[EventStore]


@dataclass(frozen=True, slots=True)
class Done:
    """The work of one round."""

    events: int
    speed: float
    """Events per second, or 1 / seconds of latency: more is better."""


@dataclass(frozen=True, slots=True)
class RoundResult:
    """The measurement of one round."""

    speed: float
    client_us: float
    """CPU time of the client per event, in microseconds."""
    server_us: float
    """CPU time of all processes of the server per event, in microseconds."""
    source: str
    """Where the store was imported from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedWorkload:
    """What runs in a round, and what it needs."""

    run: Callable[[Stores, float], Done]
    """Works for so many seconds."""
    prepare: Callable[[EventStore], object] = lambda _: None
    """Fills the store once, before the first round."""
    stores: int = 1
    """How many stores one server holds, each in a schema of its own."""
    has_standby: bool = False
    """Whether commits wait for a distant standby."""
    is_latency: bool = False


def _repeat(do: Callable[[], object], seconds: float) -> tuple[int, float]:
    """Repeat *do* for *seconds*, at least once; return how often, and the moment of the end."""
    until = time.perf_counter() + seconds
    times = 0
    while True:
        do()
        times += 1
        if (now := time.perf_counter()) >= until:
            return times, now


# ── appending ────────────────────────────────────────────────────────────────────────────────────


def _append(callers: int, events: int, stores: Stores, seconds: float) -> Done:
    """Append to new streams from *callers* threads per store, each in a closed loop."""
    start = threading.Barrier(callers * len(stores) + 1)

    def call(store: EventStore) -> tuple[int, float]:
        def append() -> None:
            new = [EventData("OrderPlaced", _PAYLOAD) for _ in range(events)]
            store.append_to_stream(f"s-{uuid4().hex}", ExpectedVersion.NO_STREAM, new)

        start.wait(_TIMEOUT)
        return _repeat(append, seconds)

    with ThreadPoolExecutor(callers * len(stores)) as threads:
        calls = [threads.submit(call, store) for store in stores for _ in range(callers)]
        start.wait(_TIMEOUT)
        began = time.perf_counter()
        results = [one.result() for one in calls]
    total = events * sum(appends for appends, _ in results)
    return Done(total, total / (max(ended for _, ended in results) - began))


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def _fill_read_stream(store: EventStore) -> None:
    _fill(store, _READ_STREAM, _READ_EVENTS)


def _fill(store: EventStore, stream: str, number: int) -> None:
    new = [EventData("OrderPlaced", _PAYLOAD) for _ in range(number)]
    store.append_to_stream(stream, ExpectedVersion.NO_STREAM, new)


def _read(stores: Stores, seconds: float) -> Done:
    [store] = stores

    def read() -> None:
        assert len(store.read_stream_forward(_READ_STREAM)) == _READ_EVENTS

    return _done_alone(read, _READ_EVENTS, seconds)


def _done_alone(do: Callable[[], object], events: int, seconds: float) -> Done:
    began = time.perf_counter()
    times, ended = _repeat(do, seconds)
    return Done(times * events, times * events / (ended - began))


# ── catching up ──────────────────────────────────────────────────────────────────────────────────


def _fill_history(store: EventStore) -> None:
    for number in range(_CATCH_UP_EVENTS // 100):
        _fill(store, f"history-{number}", 100)


def _catch_up(options: dict[str, Any], stores: Stores, seconds: float) -> Done:
    """Deliver the whole history to one new subscription after the other."""
    [store] = stores
    return _done_alone(partial(_deliver_history, store, options), _CATCH_UP_EVENTS, seconds)


def _deliver_history(store: EventStore, options: dict[str, Any]) -> None:
    received = 0
    everything = threading.Event()

    def handle(events: Events) -> None:
        nonlocal received
        received += len(events)
        if received >= _CATCH_UP_EVENTS:
            everything.set()

    subscription = store.subscribe_to_all_streams(f"catch-up-{uuid4().hex}", handle, **options)
    assert everything.wait(_TIMEOUT), f"only {received} events were delivered"
    subscription.unsubscribe()


# ── live ─────────────────────────────────────────────────────────────────────────────────────────


def _live(stores: Stores, seconds: float) -> Done:
    """Append at an even pace; the speed is 1 / (median seconds from the call to the handler)."""
    [store] = stores
    latencies: list[float] = []

    def handle(events: Events) -> None:
        now = time.perf_counter()
        latencies.extend(now - event.data["at"] for event in events)

    name = f"live-{uuid4().hex}"
    subscription = store.subscribe_to_all_streams(name, handle, start_from="current")
    deadline = time.monotonic() + _TIMEOUT
    while subscription.state is not SubscriptionState.LIVE:
        assert time.monotonic() < deadline, f"the subscription is {subscription.state}"
        time.sleep(0.005)
    number = max(1, round(seconds * _LIVE_PER_SECOND))
    began = time.perf_counter()
    for place in range(number):
        time.sleep(max(0.0, began + place / _LIVE_PER_SECOND - time.perf_counter()))
        event = EventData("OrderPlaced", _PAYLOAD | {"at": time.perf_counter()})
        last = store.append_to_stream(f"s-{uuid4().hex}", ExpectedVersion.NO_STREAM, [event])
    subscription.wait_for(last, _TIMEOUT)
    subscription.unsubscribe()
    assert len(latencies) >= number, f"only {len(latencies)} of {number} events were delivered"
    return Done(number, 1 / statistics.median(latencies))


# ── all of them ──────────────────────────────────────────────────────────────────────────────────

_LARGE_BATCHES = {"batch_by": "any", "max_batch_size": 1_000, "buffer_size": 5_000}

WORKLOADS = {
    "append-1x1": ComparedWorkload(run=partial(_append, 1, 1)),
    "append-10x1": ComparedWorkload(run=partial(_append, 10, 1)),
    "append-100x1": ComparedWorkload(run=partial(_append, 100, 1)),
    "append-1x100": ComparedWorkload(run=partial(_append, 1, 100)),
    "append-10x100": ComparedWorkload(run=partial(_append, 10, 100)),
    "read-100": ComparedWorkload(run=_read, prepare=_fill_read_stream),
    "catch-up": ComparedWorkload(run=partial(_catch_up, {}), prepare=_fill_history),
    "catch-up-any": ComparedWorkload(run=partial(_catch_up, _LARGE_BATCHES), prepare=_fill_history),
    "live": ComparedWorkload(run=_live, is_latency=True),
    "standby-4-stores": ComparedWorkload(
        run=partial(_append, _THREADS_PER_STORE, 1), stores=4, has_standby=True
    ),
    "standby-1-store": ComparedWorkload(
        run=partial(_append, _THREADS_PER_STORE, 1), has_standby=True
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("dsn")
    parser.add_argument("postmasters", help="process ids of the servers, separated by commas")
    parser.add_argument("seconds", type=float, help="how long the round takes")
    parser.add_argument("warm_up", type=float, help="seconds of the same work before it")
    parser.add_argument("--prepare", action="store_true", help="install and fill the stores first")
    arguments = parser.parse_args()
    postmasters = [psutil.Process(int(pid)) for pid in arguments.postmasters.split(",")]
    workload = WORKLOADS[arguments.workload]
    with ExitStack() as closing:
        stores = []
        for number in range(workload.stores):
            config = Config(arguments.dsn, schema=f"store_{number}")
            store = closing.enter_context(EventStore.connect(config, init=arguments.prepare))
            if arguments.prepare:
                workload.prepare(store)
            stores.append(store)
        measured = _measured(workload, stores, postmasters, arguments.seconds, arguments.warm_up)
    print(json.dumps(asdict(measured)))


def _measured(
    workload: ComparedWorkload,
    stores: Stores,
    postmasters: Sequence[psutil.Process],
    seconds: float,
    warm_up: float,
) -> RoundResult:
    workload.run(stores, warm_up)
    server, client = _server_cpu(postmasters), time.process_time()
    done = workload.run(stores, seconds)
    client, server = time.process_time() - client, _server_cpu(postmasters) - server
    each = 1_000_000 / done.events
    return RoundResult(done.speed, client * each, server * each, eventstore.__file__)


def _server_cpu(postmasters: Sequence[psutil.Process]) -> float:
    """Return the CPU seconds so far of all processes of these servers, ended ones included."""
    return sum(_tree_cpu(postmaster) for postmaster in postmasters)


def _tree_cpu(postmaster: psutil.Process) -> float:
    own = postmaster.cpu_times()
    seconds: float = own.user + own.system + own.children_user + own.children_system
    for backend in postmaster.children():
        try:
            times = backend.cpu_times()
        except psutil.NoSuchProcess:  # it ended meanwhile
            continue
        seconds += times.user + times.system
    return seconds


if __name__ == "__main__":
    main()
