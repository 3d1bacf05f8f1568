"""The whole store does what a list of events would do, whatever it is asked for and in what order.

Hypothesis draws histories of appends, repeats, reads, subscriptions, acknowledgements, pauses and
restarts, and compares every answer with that of `Model`.
"""

from __future__ import annotations

import threading
from typing import Literal
from uuid import UUID, uuid4

import psycopg
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventstore import (
    AppendResult,
    Config,
    DuplicateEventError,
    EventData,
    EventStore,
    ExpectedVersion,
    Subscription,
    WrongExpectedVersionError,
)
from tests.conformance.conftest import SHORT_STOP, has_ended, opened
from tests.conformance.model import (
    ALL,
    Duplicate,
    Model,
    ModelSubscription,
    Part,
    Place,
    Wrong,
)
from tests.conformance.subscriptions.recording import Subscriber
from tests.support.effort import examples
from tests.support.waiting import PATIENCE, wait_until

STREAMS = ("a", "b", "c")
NAMES = ("first", "second")
BUFFER_SIZE = 4
Start = Literal["origin", "current"] | int

streams = st.sampled_from(STREAMS)
subscribed = st.sampled_from([*STREAMS[:1], ALL])
names = st.sampled_from(NAMES)
expectations = st.sampled_from(["any", "right", "wrong", "no stream", "exists"])
counts = st.integers(1, 3)
numbers = st.integers(0, 1_000)
starts: st.SearchStrategy[Start] = st.sampled_from(["origin", "current", 0, 1, 2])


class StoreMachine(RuleBasedStateMachine):
    """A store, its model, and a subscriber for each subscription that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.config = self.new_config()
        self.keeper = opened(self.config)
        self.store = EventStore.connect(self.config)
        self.model = Model()
        self.stored: list[list[Part]] = []
        self.running: dict[tuple[str, str], tuple[Subscription, Subscriber]] = {}

    @staticmethod
    def new_config() -> Config:
        """Return the settings of a new, empty store."""
        raise NotImplementedError

    def teardown(self) -> None:
        self.store.close(timeout=SHORT_STOP)
        self.end_subscribers()
        self.keeper.close()
        if not self.config.dsn.startswith("memory:"):
            drop_schema(self.config)

    # ── appending ────────────────────────────────────────────────────────────────────────────

    @rule(stream=streams, expectation=expectations, count=counts)
    def append(self, stream: str, expectation: str, count: int) -> None:
        self.check_append([Part(stream, self.expected(stream, expectation), new_ids(count))])

    @rule(
        drawn=st.dictionaries(
            streams, st.tuples(expectations, st.integers(0, 2)), min_size=1, max_size=3
        )
    )
    def append_to_several(self, drawn: dict[str, tuple[str, int]]) -> None:
        self.check_append(
            [
                Part(stream, self.expected(stream, expectation), new_ids(count))
                for stream, (expectation, count) in drawn.items()
            ]
        )

    @precondition(lambda self: self.stored)
    @rule(which=numbers)
    def append_again(self, which: int) -> None:
        self.check_append(self.stored[which % len(self.stored)])

    @precondition(lambda self: self.model.log)
    @rule(first=numbers, count=counts, stream=streams, expectation=expectations)
    def append_stored_ids(self, first: int, count: int, stream: str, expectation: str) -> None:
        """A run of what is stored, over the borders of appends and of streams."""
        first %= len(self.model.log)
        run = self.model.log[first : first + count]
        stream = run[0].stream_id if expectation != "wrong" else stream
        ids = tuple(entry.event_id for entry in run)
        self.check_append([Part(stream, self.expected(stream, expectation), ids)])

    @precondition(lambda self: self.model.log)
    @rule(which=numbers, stream=streams, before=st.booleans())
    def append_a_stored_id_with_a_new_one(self, which: int, stream: str, before: bool) -> None:
        known = self.model.log[which % len(self.model.log)].event_id
        ids = (known, uuid4()) if before else (uuid4(), known)
        self.check_append([Part(stream, ExpectedVersion.ANY, ids)])

    def expected(self, stream: str, expectation: str) -> int:
        version = self.model.version(stream)
        return {
            "any": ExpectedVersion.ANY,
            "right": version,
            "wrong": version + 1,
            "no stream": ExpectedVersion.NO_STREAM,
            "exists": ExpectedVersion.STREAM_EXISTS,
        }[expectation]

    def check_append(self, parts: list[Part]) -> None:
        known = len(self.model.log)
        wanted = self.model.append(parts)
        assert self.appended(parts) == wanted
        if len(self.model.log) > known:
            self.stored.append(parts)

    def appended(self, parts: list[Part]) -> list[Place] | Wrong | Duplicate:
        appends = [
            (part.stream_id, part.expected, [event(event_id) for event_id in part.ids])
            for part in parts
        ]
        try:
            if len(appends) == 1 and appends[0][2]:
                return [place(self.store.append_to_stream(*appends[0]))]
            return [place(result) for result in self.store.append_to_streams(appends)]
        except WrongExpectedVersionError as error:
            return Wrong(error.stream_id, error.actual)
        except DuplicateEventError as error:
            return Duplicate(error.event_id)

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    @rule(stream=streams, start=st.integers(1, 12), count=st.integers(1, 8))
    def read_stream(self, stream: str, start: int, count: int) -> None:
        versions = list(range(1, self.model.version(stream) + 1))
        forward = self.store.read_stream_forward(stream, start, count, missing_ok=True)
        backward = self.store.read_stream_backward(stream, start, count, missing_ok=True)

        assert [e.stream_version for e in forward] == versions[start - 1 :][:count]
        assert [e.stream_version for e in backward] == versions[:start][::-1][:count]
        for read in (*forward, *backward):
            entry = self.model.log[read.global_position - 1]
            assert (read.stream_id, read.stream_version, read.event_id) == entry

    @rule(start=st.integers(1, 30), batch_size=st.integers(1, 7))
    def iterate_over_all(self, start: int, batch_size: int) -> None:
        positions = list(range(1, len(self.model.log) + 1))
        forward = self.store.stream_all_forward(start, batch_size=batch_size)
        backward = self.store.stream_all_backward(start, batch_size=batch_size)

        assert [e.position for e in forward] == positions[start - 1 :]
        assert [e.position for e in backward] == positions[:start][::-1]

    @invariant()
    def everything_is_stored_in_order(self) -> None:
        """G3: gapless, and equal to the model."""
        read = self.store.read_all_streams_forward()
        assert [(e.stream_id, e.stream_version, e.event_id) for e in read] == self.model.log
        assert [e.global_position for e in read] == list(range(1, len(self.model.log) + 1))

    # ── subscribing ──────────────────────────────────────────────────────────────────────────

    @rule(stream=subscribed, name=names, start=starts)
    def subscribe(self, stream: str, name: str, start: Start) -> None:
        key, head = (stream, name), self.head(stream)
        if key in self.running:
            return
        if not isinstance(start, str):
            start = min(start, head)
        begin = {"origin": 0, "current": head}.get(str(start), start)
        assert isinstance(begin, int)
        known = self.model.subscriptions.setdefault(
            key, ModelSubscription(stream, BUFFER_SIZE, begin, begin)
        )
        known.sent = known.checkpoint
        subscriber = Subscriber()
        subscription = self.subscribed(stream, name, subscriber, start)
        assert subscriber.subscribed() is subscription
        self.running[key] = (subscription, subscriber)

    def subscribed(
        self, stream: str, name: str, subscriber: Subscriber, start: Start
    ) -> Subscription:
        if stream == ALL:
            return self.store.subscribe_to_all_streams(
                name, subscriber.ref, start_from=start, buffer_size=BUFFER_SIZE
            )
        return self.store.subscribe_to_stream(
            stream, name, subscriber.ref, start_from=start, buffer_size=BUFFER_SIZE
        )

    @precondition(lambda self: self.running)
    @rule(which=numbers, acknowledged=st.integers(0, BUFFER_SIZE))
    def receive_and_acknowledge(self, which: int, acknowledged: int) -> None:
        """G13, G14, G15, G18: what must have come came, in order, and nothing else."""
        key = self.some_running(which)
        subscription, subscriber = self.running[key]
        known = self.model.subscriptions[key]
        due = list(known.due(self.head(key[0])))
        assert subscriber.positions(len(due)) == due
        known.sent += len(due)
        known.checkpoint = min(known.checkpoint + acknowledged, known.sent)
        subscription.ack(known.checkpoint)
        wait_until(lambda: subscription.checkpoint == known.checkpoint)

    @precondition(lambda self: self.running)
    @rule(which=numbers)
    def pause(self, which: int) -> None:
        key = self.some_running(which)
        known = self.model.subscriptions[key]
        subscription, subscriber = self.running[key]
        due = list(known.due(self.head(key[0])))
        assert subscriber.positions(len(due)) == due
        known.sent += len(due)
        subscription.pause()
        known.paused = True

    @precondition(lambda self: self.running)
    @rule(which=numbers)
    def resume(self, which: int) -> None:
        key = self.some_running(which)
        self.running[key][0].resume()
        self.model.subscriptions[key].paused = False

    @precondition(lambda self: self.running)
    @rule(which=numbers)
    def unsubscribe(self, which: int) -> None:
        key = self.some_running(which)
        subscription, subscriber = self.running.pop(key)
        subscription.unsubscribe()
        subscriber.die()
        stored = self.store.subscription_info(*key)
        assert stored.checkpoint == self.model.subscriptions[key].checkpoint
        assert stored.paused == self.model.subscriptions[key].paused

    @precondition(lambda self: self.running)
    @rule()
    def restart(self) -> None:
        """G15, G20: checkpoints and pauses are stored before the store is closed."""
        closing = threading.Thread(target=self.store.close, kwargs={"timeout": PATIENCE})
        closing.start()
        wait_until(lambda: has_ended(self.store))
        self.end_subscribers()  # nobody acknowledges what is in flight any more
        closing.join()
        self.store = EventStore.connect(self.config)
        for key, known in self.model.subscriptions.items():
            info = self.store.subscription_info(*key)
            assert (info.checkpoint, info.paused) == (known.checkpoint, known.paused)
            assert info.owner is None

    @invariant()
    def nothing_came_that_must_not(self) -> None:
        """G18, G20: neither more than the buffer holds nor anything in a pause."""
        for key, (_, subscriber) in self.running.items():
            known = self.model.subscriptions[key]
            assert subscriber.waiting_positions() <= set(known.due(self.head(key[0])))

    def head(self, stream_id: str) -> int:
        return len(self.model.positions(stream_id))

    def some_running(self, which: int) -> tuple[str, str]:
        return sorted(self.running)[which % len(self.running)]

    def end_subscribers(self) -> None:
        for _, subscriber in self.running.values():
            subscriber.die()
        self.running.clear()


def new_ids(count: int) -> tuple[UUID, ...]:
    return tuple(uuid4() for _ in range(count))


def event(event_id: UUID) -> EventData:
    return EventData("Happened", {}, event_id=event_id)


def place(result: AppendResult) -> Place:
    return Place(
        result.first_version,
        result.last_version,
        result.first_global_position,
        result.last_global_position,
    )


def drop_schema(config: Config) -> None:
    name = psycopg.sql.Identifier(config.schema)
    with psycopg.connect(config.dsn, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("DROP SCHEMA {} CASCADE").format(name))


HISTORIES = settings(stateful_step_count=40)


def test_a_store_in_postgresql_is_what_its_model_is(dsn: str) -> None:
    """G1, G2, G3, G6, G9, G10, G13, G14, G15, G18, G20: over any history."""

    class PostgresMachine(StoreMachine):
        @staticmethod
        def new_config() -> Config:
            return Config(dsn, schema=f"t_{uuid4().hex[:12]}", poll_interval=0.05)

    run_state_machine_as_test(
        PostgresMachine, settings=settings(HISTORIES, max_examples=examples(8))
    )


def test_a_store_in_memory_is_what_its_model_is() -> None:
    """G1, G2, G3, G6, G9, G10, G13, G14, G15, G18, G20: over any history."""

    class MemoryMachine(StoreMachine):
        @staticmethod
        def new_config() -> Config:
            return Config(f"memory:{uuid4().hex}", poll_interval=0.05)

    run_state_machine_as_test(
        MemoryMachine, settings=settings(HISTORIES, max_examples=examples(25))
    )
