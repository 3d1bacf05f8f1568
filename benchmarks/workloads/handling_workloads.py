"""Handling: what the functions of subscriptions write, and what a filter spares them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg

from benchmarks.contenders.arena import Arena
from benchmarks.contenders.bare_handler import BareHandler
from benchmarks.contenders.load import ALL
from benchmarks.measuring.measure import timed
from benchmarks.measuring.workload import Measurement, Round, Workload
from benchmarks.workloads.catch_up_case import TIMEOUT, is_rare
from benchmarks.workloads.seeding import RARE_TENANT, RARE_TYPE, seed
from eventstore import Events, EventStore, Projection

__all__ = ["workloads"]

_BATCH = 100
"""Events of a batch of the transactional function."""

_BATCH_OF_PROJECTION = 5_000
"""What a projection has by default."""

_RARE = 10_000
"""One event in so many matches a filter."""


def workloads(arena: Arena) -> Iterator[Workload]:
    """Yield what is written with its checkpoint, then what is filtered."""
    yield from _writing(arena)
    yield from _filtering(arena)


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def _writing(arena: Arena) -> Iterator[Workload]:
    events = arena.scale.pick(200_000, 40_000, 1_000)
    streams = arena.scale.pick(1_000, 1_000, 100)
    dsn = arena.place("handling").dsn
    EventStore.connect(dsn, init=True).close()
    seed(dsn, events, per_stream=events // streams, interleaved=True)
    with EventStore.connect(dsn) as store, closing(BareHandler(dsn)) as bare:
        for name, ours, most in (
            ("transactional function, batches of 100", _handle, _BATCH),
            ("projection, default options", _project, _BATCH_OF_PROJECTION),
        ):
            yield Workload(
                name=f"{name}: {events:,} events of {streams:,} streams",
                group="handling",
                unit="events/s",
                contenders={
                    "ours": partial(ours, store, dsn, events),
                    "bare": partial(_handle_barely, bare, dsn, events, most),
                },
                panel="a row per event",
                label=name,
            )


def _handle(store: EventStore, dsn: str, events: int, _: Round) -> Measurement:
    """Run a new transactional subscription until everything is handled."""
    with _table(dsn) as table:

        def work() -> int:
            subscription = store.subscribe_to_all_streams(
                table, _writing_to(table), transactional=True, max_batch_size=_BATCH
            )
            subscription.wait_for(events, TIMEOUT)
            return events

        measured = timed(work)
        store.unsubscribe_from_all_streams(table)
        store.delete_subscription(ALL, table)
        assert (rows := _rows(dsn, table)) == events, f"wrote {rows:,} rows"
    return measured


def _project(store: EventStore, dsn: str, events: int, _: Round) -> Measurement:
    """Run a new projection until everything is handled."""
    with _table(dsn) as table:
        projection = Projection(table, 1, _writing_to(table))

        def work() -> int:
            store.project(projection).wait_for(events, TIMEOUT)
            return events

        measured = timed(work)
        store.drop_projection(projection, force=True)
        assert (rows := _rows(dsn, table)) == events, f"wrote {rows:,} rows"
    return measured


def _handle_barely(bare: BareHandler, dsn: str, events: int, most: int, _: Round) -> Measurement:
    with _table(dsn) as table:
        measured = timed(lambda: bare.handle_all(_INSERT.format(table), most))
        assert (rows := _rows(dsn, table)) == events, f"wrote {rows:,} rows"
    return measured


_INSERT = "INSERT INTO {} VALUES (%s, %s)"


def _writing_to(table: str) -> Callable[[Events, Any], None]:
    insert = _INSERT.format(table)

    def write(events: Events, connection: Any) -> None:
        rows = [(event.global_position, event.data["sku"]) for event in events]
        connection.cursor().executemany(insert, rows)

    return write


@contextmanager
def _table(dsn: str) -> Iterator[str]:
    """Create a table for the rows of one run, which is dropped afterwards."""
    name = f"handled_{uuid4().hex}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {name} (position bigint, sku text)".encode())
        yield name
        connection.execute(f"DROP TABLE {name}".encode())


def _rows(dsn: str, table: str) -> int:
    with psycopg.connect(dsn) as connection:
        [(rows,)] = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()
        return int(rows)


# ── filtering ────────────────────────────────────────────────────────────────────────────────────


def _filtering(arena: Arena) -> Iterator[Workload]:
    events = arena.scale.pick(1_000_000, 100_000, 10_000)
    dsn = arena.place("filtering").dsn
    EventStore.connect(dsn, init=True).close()
    seed(dsn, events, per_stream=100, rare_every=_RARE, with_metadata=True)
    ways: dict[str, dict[str, Any]] = {
        "by type": {"event_types": RARE_TYPE},
        "by metadata": {"metadata": {"tenant": RARE_TENANT}},
        "by a selector": {"selector": is_rare},
    }
    with EventStore.connect(dsn) as store:
        for way, options in ways.items():
            yield Workload(
                name=f"1 of {_RARE:,} matches {way}: {events:,} events",
                group="handling",
                unit="events/s",
                contenders={"ours": partial(_filter, store, events, options)},
                panel="filters",
                label=way,
            )


def _filter(store: EventStore, events: int, options: dict[str, Any], _: Round) -> Measurement:
    """Run a new subscription until everything counts as acknowledged."""
    name, received = f"filtered-{uuid4()}", 0

    def count(batch: Events) -> None:
        nonlocal received
        received += len(batch)

    def work() -> int:
        store.subscribe_to_all_streams(name, count, **options).wait_for(events, TIMEOUT)
        return events

    measured = timed(work)
    store.unsubscribe_from_all_streams(name)
    store.delete_subscription(ALL, name)
    assert received == events // _RARE, f"received {received:,} events"
    return measured
