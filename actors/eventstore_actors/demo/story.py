"""The acts of the demo: append and deliver, kill and take over, pause and resume, refuse."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from eventstore import (
    EventData,
    EventStore,
    ExpectedVersion,
    SubscriptionState,
    WrongExpectedVersionError,
)
from eventstore_actors.demo.board import LEASE, NAME
from eventstore_actors.demo.history import Happening, Kind
from eventstore_actors.demo.screen import Screen
from eventstore_actors.demo.subscriber import SubscriberProcess, Tally
from eventstore_actors.demo.writers import Writers, Writing

__all__ = ["WRITERS", "BrokenPromiseError", "Story"]

WRITERS = 32

PATIENCE = 120.0
"""Seconds after which an expected change counts as failed."""

_ALL = "$all"
_PAUSE = threading.Event()


class BrokenPromiseError(Exception):
    """The store broke one of its guarantees."""


class Story:
    """Four acts, played with four quarters of the events."""

    def __init__(
        self,
        screen: Screen,
        store: EventStore,
        dsn: str,
        state: Path,
        happenings: Sequence[Happening],
    ) -> None:
        """Prepare the story; *dsn* and *state* are passed to the subscriber's process."""
        self.tally = Tally()
        self.appended = 0
        self._screen = screen
        self._store = store
        self._dsn = dsn
        self._state = state
        self._happenings = happenings
        self._subscriber: SubscriberProcess | None = None

    def tell(self) -> None:
        """Play all acts; afterwards every event is appended, delivered and acknowledged.

        Raises:
            BrokenPromiseError: The store broke a guarantee.
            EventStoreError: A call to the store failed.
            SubscriberSilentError: The subscriber's process ended or made no progress.
        """
        first, second, third, fourth = _quarters(self._happenings)
        try:
            with Writers(self._store, WRITERS) as writers:
                self._listen(writers, first)
                self._kill(writers, second)
                self._pause(writers, third)
                self._refuse(third[-1])
                self._append_and_catch_up(writers.write(fourth))
        finally:
            if self._subscriber is not None:
                self._subscriber.stop()

    def _listen(self, writers: Writers, happenings: Sequence[Happening]) -> None:
        self._screen.heading(f"1. {WRITERS} threads append, an actor in another process listens")
        process = self._connect()
        self._screen.fact(
            "listens",
            f"process {process.pid}, subscription {NAME!r} to all streams;\n"
            "it saves its sums together with the position, then acknowledges",
        )
        self._append_and_catch_up(writers.write(happenings))

    def _kill(self, writers: Writers, happenings: Sequence[Happening]) -> None:
        self._screen.heading("2. kill -9, while events come in")
        halfway = self.appended + len(happenings) // 2
        writing = writers.write(happenings)
        self.tally.wait_for(lambda: self.tally.position >= halfway, PATIENCE)
        assert self._subscriber is not None
        self._subscriber.kill()
        killed, again = time.monotonic(), self.tally.again
        self._screen.fact("kill -9", f"process {self._subscriber.pid}, at #{self.tally.position:,}")
        self._screen.fact(
            "waits",
            f"until the dead process's lease of {LEASE:.0f} s runs out; the appends go on",
        )
        process = self._connect()
        self._screen.fact(
            "took over",
            f"process {process.pid}, {time.monotonic() - killed:.1f} s after the kill,"
            f" from checkpoint #{self.tally.runs[-1].checkpoint:,}",
        )
        self._append_and_catch_up(writing)
        self._screen.fact(
            "again", f"{self.tally.again - again:,} events came a second time, counted once"
        )

    def _pause(self, writers: Writers, happenings: Sequence[Happening]) -> None:
        self._screen.heading("3. Pause and resume, through the database")
        self._store.pause_subscription(_ALL, NAME)
        self._until_paused()
        self._screen.fact("paused", "by this process, though the actor lives in another one")
        before = self.tally.position
        self._append(writers.write(happenings))
        info = self._store.subscription_info(_ALL, NAME)
        if delivered := self.tally.position - before:
            raise BrokenPromiseError(f"{delivered} events were delivered while paused")
        self._screen.fact(
            "delivered",
            f"none; {info.lag_events:,} events wait, the oldest for {info.lag_seconds:.1f} s",
        )
        begun = time.monotonic()
        self._store.resume_subscription(_ALL, NAME)
        self._catch_up()
        seconds = time.monotonic() - begun
        self._screen.fact(
            "resumed",
            f"{info.lag_events:,} events delivered in {seconds:.2f} s:"
            f" {info.lag_events / seconds:,.0f} events/s",
        )

    def _refuse(self, happening: Happening) -> None:
        self._screen.heading("4. Twice, and too late")
        stream_id = happening.stream_id
        again = self._store.append_to_stream(stream_id, ExpectedVersion.ANY, [happening.event()])
        self._screen.fact(
            "twice", f"the same event once more: it is #{again.last_global_position:,} already"
        )
        try:
            late = EventData(Kind.DEPARTED.value, {})
            self._store.append_to_stream(stream_id, ExpectedVersion.NO_STREAM, [late])
        except WrongExpectedVersionError as error:
            self._screen.fact("too late", f"refused:\n{error}")
        else:
            raise BrokenPromiseError(f"{stream_id} was created a second time")

    def _connect(self) -> SubscriberProcess:
        runs = len(self.tally.runs)
        self._subscriber = SubscriberProcess(self._dsn, self._state, self.tally)
        self.tally.wait_for(lambda: len(self.tally.runs) > runs, PATIENCE)
        return self._subscriber

    def _append(self, writing: Writing) -> None:
        """Show the progress of *writing* until all of it is stored."""
        with self._screen.bar("append", writing.total) as bar:
            while not writing.finished(timeout=0.1):
                bar.show(writing.written)
        self.appended += writing.written
        rate = writing.written / writing.seconds
        self._screen.fact(
            "appended", f"{writing.written:,} events, each on its own: {rate:,.0f} events/s"
        )

    def _catch_up(self) -> None:
        """Wait until every appended event is delivered and counted."""
        before = self.tally.position
        with self._screen.bar("deliver", self.appended - before) as bar:
            while (position := self.tally.position) < self.appended:
                self.tally.wait_for(lambda: self.tally.position > position, PATIENCE)
                bar.show(self.tally.position - before)

    def _append_and_catch_up(self, writing: Writing) -> None:
        self._append(writing)
        begun = time.monotonic()
        self._catch_up()
        milliseconds = max(1.0, 1_000 * (time.monotonic() - begun))
        self._screen.fact(
            "delivered", f"up to #{self.appended:,}, {milliseconds:.0f} ms after the last append"
        )

    def _until_paused(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self._store.subscription_info(_ALL, NAME).state is not SubscriptionState.PAUSED:
            if time.monotonic() > deadline:
                raise BrokenPromiseError(f"not paused after {PATIENCE:.0f} s")
            _PAUSE.wait(0.02)


def _quarters(happenings: Sequence[Happening]) -> list[Sequence[Happening]]:
    size = -(-len(happenings) // 4)
    return [happenings[size * n : size * (n + 1)] for n in range(4)]
