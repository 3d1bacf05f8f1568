"""A service in its own process: takes commands on stdin, reports on stdout, as lines of JSON.

Knows only the public API. Started by `tests.support.processes.Service`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import psycopg
import pykka
from psycopg import sql

from eventstore import (
    CallerRuntime,
    Config,
    EventData,
    Events,
    EventStore,
    EventStoreError,
    ExpectedVersion,
    Subscription,
    WrongExpectedVersionError,
)
from tests.support.memory import peak
from tests.support.receiver import Receiver, report, shown


class Service:
    """The commands of a service, one method each."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._subscriptions: dict[str, Subscription] = {}
        self._receivers: dict[str, pykka.ActorRef[Receiver]] = {}
        self._stopping = threading.Event()
        self._own: psycopg.Connection | None = None

    # ── appending ────────────────────────────────────────────────────────────────────────────

    def race(self, stream: str, until: int) -> None:
        """Append one event at a time at the version last seen, until the stream is long enough."""
        version = 0
        while version < until:
            event = EventData("Raced", {"from": version})
            try:
                result = self._store.append_to_stream(stream, version, [event])
            except WrongExpectedVersionError as error:
                report("lost", expected=version, actual=error.actual, id=str(event.event_id))
                version = error.actual
            else:
                report("won", expected=version, id=str(event.event_id))
                version = result.last_version
        report("raced")

    def transfer(self, pair: list[str], until: int, seed: int) -> None:
        """Append to both streams at once, in random order, at the versions last seen."""
        rng, versions = random.Random(seed), dict.fromkeys(pair, 0)
        while min(versions.values()) < until:
            order = rng.sample(pair, 2)
            number = f"{seed}-{rng.random()}"
            appends = [(s, versions[s], [EventData("Moved", {"pair": number})]) for s in order]
            try:
                results = self._store.append_to_streams(appends)
            except WrongExpectedVersionError as error:
                versions[error.stream_id] = error.actual
            else:
                report("moved", pair=number)
                versions.update({r.stream_id: r.last_version for r in results})
        report("transferred")

    def write(
        self,
        streams: list[str],
        seed: int,
        appends: int | None = None,
        most_events: int = 4,
        most_streams: int = 1,
        timeout: float | None = None,
        pause: float = 0.0,
    ) -> None:
        """Append random groups to random streams; for ever if *appends* is None."""
        rng = random.Random(seed)
        for _ in itertools.count() if appends is None else range(appends):
            if self._stopping.wait(pause):
                break
            chosen = rng.sample(streams, rng.randint(1, most_streams))
            groups = {
                stream: [
                    EventData("Written", {"by": seed}) for _ in range(rng.randint(1, most_events))
                ]
                for stream in chosen
            }
            self._write_once(groups, seed, timeout)
        report("written", seed=seed)

    def _write_once(
        self, groups: dict[str, list[EventData]], seed: int, timeout: float | None
    ) -> None:
        ids = {stream: [str(e.event_id) for e in events] for stream, events in groups.items()}
        report("trying", ids=ids, by=seed)
        began = time.monotonic()
        try:
            results = self._store.append_to_streams(
                [(stream, ExpectedVersion.ANY, events) for stream, events in groups.items()],
                timeout=timeout,
            )
        except EventStoreError as error:
            seconds = time.monotonic() - began
            report("failed", ids=ids, error=type(error).__name__, seconds=seconds)
        else:
            places = {r.stream_id: [r.first_version, r.first_global_position] for r in results}
            seconds = time.monotonic() - began
            report("appended", ids=ids, places=places, seconds=seconds)

    # ── in a transaction of its own ──────────────────────────────────────────────────────────

    def note(self, table: str, number: int) -> None:
        """Insert a row and append an event in one transaction, which stays open."""
        self._own = self._own or psycopg.connect(self._store.dsn)
        self._note(self._own, table, number)
        report("noted", number=number)

    def commit(self) -> None:
        """Commit that transaction, if it is still there."""
        assert self._own is not None
        try:
            self._own.commit()
        except psycopg.Error as error:
            report("lost", error=type(error).__name__)
        else:
            report("committed")

    def rollback(self) -> None:
        assert self._own is not None
        self._own.rollback()
        report("rolled back")

    def wake(self) -> None:
        self._store.wake()
        report("woken")

    def note_on(self, table: str, seed: int) -> None:
        """Insert rows and append events, and commit or roll back at random, until it is killed."""
        rng = random.Random(seed)
        with psycopg.connect(self._store.dsn) as connection:
            for number in itertools.count(seed):
                if self._stopping.is_set():
                    break
                self._note(connection, table, number)
                if rng.random() < 1 / 3:
                    connection.rollback()
                else:
                    connection.commit()
                    report("kept", number=number)

    def _note(self, connection: psycopg.Connection, table: str, number: int) -> None:
        insert = sql.SQL("INSERT INTO {} VALUES (%s)").format(sql.Identifier(*table.split(".")))
        connection.execute(insert, [number])
        event = EventData("Noted", {"number": number})
        self._store.append_to_stream("notes", ExpectedVersion.ANY, [event], connection=connection)

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def tail(self) -> None:
        """Read new events in a loop."""
        position = 0
        while not self._stopping.is_set():
            events = self._store.read_all_streams_forward(position + 1)
            if events:
                report("read", events=shown(events))
                position = events[-1].global_position
            else:
                self._stopping.wait(0.002)

    def scan(self, stream: str, batch_size: int) -> None:
        """Iterate lazily; report the growth of the process's memory after the first page."""
        events = self._store.stream_forward(stream, batch_size=batch_size)
        for _ in itertools.islice(events, batch_size):
            pass
        before, most, count = resident(), 0, batch_size
        for event in events:
            count += 1
            if event.stream_version % batch_size == 0:
                most = max(most, resident())
        report("scanned", count=count, grown=most - before)

    def measure(self) -> None:
        threads = threading.active_count()
        report("measured", resident=resident(), peak=peak(), threads=threads)

    # ── subscribing ──────────────────────────────────────────────────────────────────────────

    def subscribe(
        self,
        name: str,
        stream: str | None = None,
        ack_every: int = 1,
        work: float = 0.0,
        **options: Any,
    ) -> None:
        """Connect an actor that reports everything."""
        self._receivers[name] = receiver = Receiver.start(name, ack_every, work)
        self._subscribe(name, stream, receiver, options)

    def subscribe_many(self, prefix: str, count: int, **options: Any) -> None:
        """Connect one actor, which reports everything as *prefix*, to that many subscriptions."""
        receiver = Receiver.start(prefix, 1, 0.0)
        for number in range(count):
            name = f"{prefix}-{number}"
            handle = self._store.subscribe_to_all_streams(name, receiver, **options)
            self._subscriptions[name] = handle
        report("connected", name=prefix)

    def bury(self, name: str) -> None:
        """Stop the actor that `subscribe` connected."""
        self._receivers[name].stop()
        report("buried", name=name)

    def subscribe_callable(self, name: str, stream: str | None = None, **options: Any) -> None:
        """Connect a function that reports everything."""

        def handle(events: Events) -> None:
            report("delivered", name=name, events=shown(events))

        self._subscribe(name, stream, handle, options)

    def subscribe_stuck(self, name: str, stream: str | None = None, **options: Any) -> None:
        """Connect a function that never returns from its first batch."""

        def handle(events: Events) -> None:
            report("stuck", name=name, events=len(events))
            self._stopping.wait()

        self._subscribe(name, stream, handle, options)

    def _subscribe(
        self, name: str, stream: str | None, subscriber: Any, options: dict[str, Any]
    ) -> None:
        if stream is None:
            handle = self._store.subscribe_to_all_streams(name, subscriber, **options)
        else:
            handle = self._store.subscribe_to_stream(stream, name, subscriber, **options)
        self._subscriptions[name] = handle
        report("connected", name=name, state=handle.state)

    def ack(self, name: str, position: int) -> None:
        self._subscriptions[name].ack(position)
        report("acked", name=name, position=position)

    def look(self, name: str) -> None:
        subscription = self._subscriptions[name]
        report("seen", name=name, state=subscription.state, checkpoint=subscription.checkpoint)

    def health(self) -> None:
        health = self._store.health()
        report(
            "health",
            running=health.running,
            reached=health.database_reachable,
            listening=health.listening,
            failure=health.failure,
        )

    # ── ending ───────────────────────────────────────────────────────────────────────────────

    def stop(self) -> None:
        """End all loops; each reports its end."""
        self._stopping.set()

    def close(self) -> None:
        began = time.monotonic()
        self._store.close()
        report("closed", seconds=time.monotonic() - began)


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    return int(psutil.Process().memory_info().rss)


_LOOPS = {"race", "transfer", "write", "tail", "scan", "note_on"}


def obey(service: Service, command: dict[str, Any]) -> None:
    """Run *command*; loops run in their own threads."""
    name = command.pop("do")
    method: Callable[..., None] = getattr(service, name)

    def run() -> None:
        try:
            method(**command)
        except Exception as error:  # noqa: BLE001 - reported to the test
            report("error", do=name, error=type(error).__name__, text=str(error))

    if name in _LOOPS:
        threading.Thread(target=run, name=name, daemon=True).start()
    else:
        run()


def commands() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


def main(settings: dict[str, Any], runtime: str) -> None:
    """Serve until stdin ends, or until the command to join the store."""
    chosen = CallerRuntime if runtime == "caller" else None
    store = EventStore.connect(Config(**settings), runtime=chosen)
    service = Service(store)
    report("ready", pid=os.getpid())
    for command in commands():
        if command["do"] == "join":
            report("joining")
            try:
                store.join()
            finally:
                pykka.ActorRegistry.stop_all()
            report("joined")
            return
        obey(service, command)
    service.stop()
    store.close()
    pykka.ActorRegistry.stop_all()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2])
