"""Catch-up: subscriptions receive and acknowledge everything that is stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import pykka

from benchmarks.contenders.arena import Arena
from benchmarks.contenders.bare_subscriber import BareSubscriber
from benchmarks.contenders.contender import Contender
from benchmarks.contenders.eventsourcing import EventSourcing
from benchmarks.contenders.load import ALL
from benchmarks.contenders.other_subscribers import catch_up_in_eventsourcing, catch_up_in_uma
from benchmarks.contenders.ours_asyncio import OursAsyncio
from benchmarks.contenders.uma import Uma
from benchmarks.measuring.measure import timed
from benchmarks.measuring.workload import Measurement, Round, Run, Workload
from benchmarks.workloads.catch_up_case import TIMEOUT, CatchUp, is_rare
from benchmarks.workloads.loop_catch_up import catch_up_in_loop
from benchmarks.workloads.seeding import seed
from eventstore import Events, EventStore, RecordedEvent

__all__ = ["bare_catch_up", "catch_up", "workloads"]

_MOST_BARE = 10


def workloads(arena: Arena) -> Iterator[Workload]:
    """Yield catch-ups with 100 consecutive events per stream, then with a stream per event."""
    for per_stream, backlog, cases in (
        (100, arena.scale.pick(1_000_000, 50_000, 1_000), _in_a_row(arena)),
        (1, arena.scale.pick(1_000_000, 20_000, 1_000), _one_by_one(arena)),
    ):
        dsn = arena.place("subscribing").dsn
        EventStore.connect(dsn, init=True).close()
        seed(dsn, backlog, per_stream=per_stream)
        with (
            EventStore.connect(dsn) as store,
            closing(OursAsyncio.join(dsn)) as in_loop,
            closing(BareSubscriber(dsn)) as bare,
        ):
            for case in cases:
                contenders: dict[str, Run] = {"ours": partial(catch_up, store, case)}
                if case.subscriber == "function":
                    contenders["asyncio"] = partial(catch_up_in_loop, in_loop.store, case)
                contenders["bare"] = partial(bare_catch_up, bare, case)
                if case == cases[0]:
                    contenders |= _others(arena, case.events)
                yield Workload(
                    name=f"{case.name} [{per_stream} per stream]",
                    group="subscribe",
                    unit="events/s",
                    contenders=contenders,
                    panel=f"{per_stream} per stream",
                    label=case.name,
                    rounds=case.rounds,
                )


def _others(arena: Arena, number: int) -> dict[str, Run]:
    """Return the others that can subscribe and store a position; they do not batch by stream."""
    catch_ups: tuple[tuple[type[Contender], Callable[[Any, int], int]], ...] = (
        (EventSourcing, catch_up_in_eventsourcing),
        (Uma, catch_up_in_uma),
    )
    runs: dict[str, Run] = {}
    for kind, catch_up_in in catch_ups:
        if kind.missing() is None:
            contender = arena.open(kind)
            contender.fill(f"backlog-{uuid4()}", number)
            runs[kind.name] = partial(_other_catch_up, catch_up_in, contender, number)
    return runs


def _other_catch_up(
    catch_up_in: Callable[[Any, int], int], contender: Contender, number: int, _: Round
) -> Measurement:
    return timed(lambda: catch_up_in(contender, number))


def _in_a_row(arena: Arena) -> list[CatchUp]:
    some = arena.scale.pick(100_000, 30_000, 500)
    few, many, twice = arena.scale.pick((10, 50, 2), (10, 50, 2), (2, 3, 1))
    cases = [
        CatchUp(events=some),
        CatchUp(events=some, batch_by="any"),
        CatchUp(events=some, subscriber="actor, each event"),
        CatchUp(events=some, selects=True),
        CatchUp(events=arena.scale.pick(100_000, 5_000, 500), subscriptions=few, rounds=twice),
    ]
    more = [
        CatchUp(events=some, subscriber="actor"),
        CatchUp(events=some, subscriptions=many, rounds=1),
        CatchUp(events=arena.scale.pick(1_000_000, 0, 1_000), rounds=twice),
        CatchUp(events=arena.scale.pick(1_000_000, 0, 1_000), subscriptions=few, rounds=1),
    ]
    return cases + arena.scale.pick(more, [], more)


def _one_by_one(arena: Arena) -> list[CatchUp]:
    some = arena.scale.pick(100_000, 20_000, 500)
    few, many, twice = arena.scale.pick((10, 50, 2), (10, 50, 2), (2, 3, 1))
    cases = [CatchUp(events=some), CatchUp(events=some, batch_by="any")]
    more = [
        CatchUp(events=some, subscriber="actor"),
        CatchUp(events=some, selects=True),
        CatchUp(events=arena.scale.pick(20_000, 0, 50), subscriptions=few, rounds=twice),
        CatchUp(events=arena.scale.pick(20_000, 0, 50), subscriptions=many, rounds=1),
        CatchUp(events=arena.scale.pick(1_000_000, 0, 1_000), rounds=twice),
    ]
    return cases + arena.scale.pick(more, [], more)


# ── ours ─────────────────────────────────────────────────────────────────────────────────────────


def catch_up(store: EventStore, case: CatchUp, _: Round) -> Measurement:
    """Run new subscriptions until everything is acknowledged; count the received events."""
    [last] = store.read_all_streams_backward(count=1)
    start = last.global_position - case.events
    with _subscribers(case) as (subscribers, received):
        cpu, begun = time.process_time(), time.perf_counter()
        subscriptions = [
            store.subscribe_to_all_streams(
                f"catch-up-{uuid4()}",
                subscriber,
                start_from=start,
                batch_by=case.batch_by,
                selector=is_rare if case.selects else None,
            )
            for subscriber in subscribers
        ]
        for subscription in subscriptions:
            subscription.wait_for(last, TIMEOUT)
        taken, cpu_taken = time.perf_counter() - begun, time.process_time() - cpu
        for subscription in subscriptions:
            subscription.unsubscribe()
            store.delete_subscription(ALL, subscription.subscription_name)
    assert received() == case.passing * case.subscriptions, f"received {received():,} events"
    total = case.events * case.subscriptions
    return Measurement(total / taken, cpu_seconds=cpu_taken, operations=total)


@contextmanager
def _subscribers(case: CatchUp) -> Iterator[tuple[list[Any], Callable[[], int]]]:
    """Create the subscribers of *case* and a function that counts received events."""
    counters = [_Counter() for _ in range(case.subscriptions)]
    with ExitStack() as actors:
        if case.subscriber == "function":
            yield [counter.count for counter in counters], lambda: sum(c.total for c in counters)
            return
        by_event = case.subscriber == "actor, each event"
        refs = [_Acknowledging.start(counter, by_event=by_event) for counter in counters]
        for ref in refs:
            actors.callback(ref.stop)
        yield refs, lambda: sum(c.total for c in counters)


class _Counter:
    """Counts the events of one subscription; its batches arrive one at a time."""

    def __init__(self) -> None:
        self.total = 0

    def count(self, events: Events) -> None:
        self.total += len(events)


class _Acknowledging(pykka.ThreadingActor):
    def __init__(self, counter: _Counter, *, by_event: bool) -> None:
        super().__init__()
        self._counter = counter
        self._by_event = by_event

    def on_receive(self, message: object) -> None:
        if not isinstance(message, Events):
            return
        self._counter.count(message)
        for what in message if self._by_event else (message,):
            message.subscription.ack(what)


# ── bare ─────────────────────────────────────────────────────────────────────────────────────────


def bare_catch_up(bare: BareSubscriber, case: CatchUp, _: Round) -> Measurement:
    """Read everything in one loop once per subscription, at most ten times."""
    head: int = bare.execute(bare.statements.head, ())[0][0]
    passing = 0

    def receive(event: RecordedEvent) -> None:
        nonlocal passing
        passing += not case.selects or is_rare(event)

    times = min(case.subscriptions, _MOST_BARE)
    measured = timed(lambda: sum(bare.catch_up(head - case.events, receive) for _ in range(times)))
    assert passing == times * case.passing, f"received {passing:,} events"
    return measured
