"""A process with a runtime that subscribes in every role, as an owner or a standby."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pykka

from eventstore import EventStore, EventStoreError, Subscription
from tests.torture.journal import Journal
from tests.torture.programs import Stopping, arguments, connected
from tests.torture.subscribers import PARKING_ROLE, ROLES, Notes, Role

__all__: list[str] = []

_HEAD_START = 1.0
"""Seconds that other runtimes wait, so that the intended owner subscribes first."""


def keep_subscribed(
    store: EventStore, role: Role, notes: Notes, stopping: Stopping, wait: float
) -> None:
    """Subscribe again whenever the subscription has ended, for whatever reason."""
    stopping.wait(wait)
    while not stopping.is_set():
        subscriber = role.start(notes)
        try:
            subscribe(store, role, subscriber).join()
        except EventStoreError as error:
            notes.note("stopped", error=f"{type(error).__name__}: {error}")
            stopping.wait(0.1)
        finally:
            if isinstance(subscriber, pykka.ActorRef):
                subscriber.stop()


def subscribe(store: EventStore, role: Role, subscriber: Any) -> Subscription:
    if role.stream_id == "$all":
        return store.subscribe_to_all_streams(role.name, subscriber, **role.options)
    return store.subscribe_to_stream(role.stream_id, role.name, subscriber, **role.options)


def serve(store: EventStore, journal: Journal, index: int, seed: int) -> None:
    """Keep every role subscribed until SIGTERM.

    Raises:
        EventStoreError: The store failed.
    """
    stopping = Stopping()
    threads = []
    for number, role in enumerate([*ROLES, PARKING_ROLE]):
        notes = Notes(journal, role.name, random.Random(f"{seed}-{role.name}"))
        wait = 0.0 if number % 3 == index else _HEAD_START
        arguments = (store, role, notes, stopping, wait)
        threads.append(threading.Thread(target=keep_subscribed, args=arguments, daemon=True))
    for thread in threads:
        thread.start()
    try:
        store.join()
    finally:
        stopping.set()
    deadline = time.monotonic() + 5
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def main() -> None:
    journal, settings, index, seed = arguments()
    with connected(settings, journal, Stopping()) as store:
        journal.note("ready")
        serve(store, journal, index, seed)
    journal.note("end")


if __name__ == "__main__":
    main()
