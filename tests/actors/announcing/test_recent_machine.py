"""The memory of the newest events against the storage, whatever was announced, and in what order.

The publisher, its listener and their memory are the product's own, stepped by hand over a real
storage, into which their runtime and others commit. Announcements are lost, late, repeated and out
of order; connections break, also in the middle of a read; the publisher crashes; the memory is so
small that it forgets all the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventstore.client.targets import storage_for
from eventstore.model.config import Config
from eventstore.model.names import ALL_STREAMS
from eventstore.ports.listening import Heard
from eventstore.ports.storage import AppendSession, Storage
from eventstore.ports.stored_events import Committed, StoredEvent, StreamAppend
from eventstore_actors.appending.commit_plan import stored_events
from eventstore_actors.state.recent_events import RecentEvents
from tests.support.effort import examples
from tests.support.heads import ScriptedHeads, away, connected, moved, touched
from tests.support.rooms import encoded, soon
from tests.support.stepped_publisher import Follower, SteppedPublisher, step_listeners

LARGE = 10**6

commits = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from([2, 2, 2, 4, 4, 50])), min_size=1, max_size=3
)
"""Streams and sizes of events."""


def _nothing() -> None:
    """Happens before most reads."""


class RecentMachine(RuleBasedStateMachine):
    """G4, G13, G14, G23."""

    config: Config
    storage: Storage
    appender: AppendSession
    every_read: bool

    @initialize(before=st.integers(0, 3))
    def begin(self, before: int) -> None:
        self.streams = {name: f"{name}-{uuid4().hex}" for name in "ab"}
        self.start = self.head = self.stored_head()
        self.on_the_way: deque[tuple[StoredEvent, ...]] = deque()
        """What our writer committed and has not told yet."""
        self.recent = RecentEvents(max_bytes=60, max_events=6)
        self.known = 0
        for _ in range(before):
            self.commit([("a", 2)])
        self.publisher = SteppedPublisher(self.config, self.storage, self.recent)
        self.followers = [self.joined(which) for which in range(2)]

    def joined(self, which: int) -> Follower:
        """Return one who watches, and has read what there is; the publisher hears of it later."""
        stream_id, start = ((ALL_STREAMS, self.start), (self.streams["a"], 0))[which]
        follower = Follower(stream_id, self.recent, self.storage, start)
        self.publisher.watch(follower)
        while follower.read_on():
            pass
        return follower

    def teardown(self) -> None:
        if hasattr(self, "publisher"):
            self.publisher.end()

    # ── commits ──────────────────────────────────────────────────────────────────────────────

    def commit(self, drawn: list[tuple[str, int]]) -> tuple[StoredEvent, ...]:
        """Append to one or two streams, and return what the writer would tell of it."""
        append = tuple(
            StreamAppend(
                self.streams[name],
                -1,
                tuple(encoded(b"x" * size) for each, size in drawn if each == name),
            )
            for name in sorted({name for name, _ in drawn})
        )
        (outcome,) = self.appender.append([append], soon())
        assert isinstance(outcome, Committed)
        self.head += len(drawn)
        return tuple(stored_events(append, outcome))

    @rule(
        turns=st.lists(st.tuples(st.booleans(), commits), min_size=1, max_size=3),
        told=st.booleans(),
    )
    def commit_several(
        self, turns: list[tuple[bool, list[tuple[str, int]]]], *, told: bool
    ) -> None:
        """Here and elsewhere in turns; the publisher may hear of ours at once."""
        for here, drawn in turns:
            stored = self.commit(drawn)
            if here:
                self.on_the_way.append(stored)
                self.recent.writing = True
        if told:
            self.hear_the_writer()

    def hear_the_writer(self) -> None:
        while self.on_the_way:
            self.writer_tells()
        self.handle_all()

    @precondition(lambda self: self.on_the_way)
    @rule()
    def writer_tells(self) -> None:
        self.publisher.committed(self.on_the_way.popleft())
        self.recent.writing = bool(self.on_the_way)

    # ── announcements ────────────────────────────────────────────────────────────────────────

    @rule(late=st.integers(0, 12), touches=st.booleans(), told_after=st.booleans())
    def hear(self, late: int, *, touches: bool, told_after: bool) -> None:
        """An announcement: the newest, or an old one again; those between are lost.

        It may be faster than our own writer.
        """
        head = max(self.head - late, self.start)
        self.publisher.listen(touched(head) if touches else moved(head))
        if told_after:
            self.hear_the_writer()

    @rule(drawn=commits)
    def hear_while_others_commit(self, drawn: list[tuple[str, int]]) -> None:
        """Between what was announced and what is read then."""
        self.listen(moved(self.head), meanwhile=lambda: self.commit(drawn))

    @rule(how=st.sampled_from(["crash", "lose the connection", "lose it while reading"]))
    def break_down(self, how: str) -> None:
        if how == "crash":
            self.crash()
        elif how == "lose the connection":
            self.publisher.listen(away())
        else:
            self.listen(moved(self.head), meanwhile=ScriptedHeads.lose_connection)

    def listen(self, heard: Heard, meanwhile: Callable[[], object]) -> None:
        """Hear something, and let something else happen right before the listener reads."""
        heads = self.publisher.heads

        def once() -> None:
            heads.before_reading = _nothing
            meanwhile()

        heads.before_reading = once
        self.publisher.listen(heard)
        heads.before_reading = _nothing

    @invariant()
    def what_is_known_is_never_forgotten_to_exist(self) -> None:
        """G4: only a publisher that starts again begins with nothing."""
        if hasattr(self, "publisher"):
            assert (self.recent.head or 0) >= self.known
            self.known = self.recent.head or 0

    def crash(self) -> None:
        """Its subscriptions watch again, and look themselves whether they missed something."""
        self.known = 0
        self.publisher.end()
        self.publisher.start()
        self.followers = [self.joined(which) for which in range(2)]

    # ── those who read ───────────────────────────────────────────────────────────────────────

    @rule()
    def handle_one_message(self) -> None:
        self.publisher.step()

    @rule()
    def handle_all(self) -> None:
        while self.publisher.step():
            pass

    @rule(which=st.integers(0, 1), is_new=st.booleans())
    def follow(self, which: int, *, is_new: bool) -> None:
        if is_new:
            self.followers[which] = self.joined(which)
        else:
            self.followers[which].hear()

    @rule(
        name=st.sampled_from(["a", "b", ALL_STREAMS]),
        back=st.integers(-1, 14),
        count=st.integers(1, 8),
        max_bytes=st.sampled_from([1, 4, 8, 54, LARGE]),
    )
    def read(self, name: str, back: int, count: int, max_bytes: int) -> None:
        stream_id = self.streams.get(name, name)
        self.compare(stream_id, max(0, self.version(stream_id) - back), count, max_bytes)

    def compare(self, stream_id: str, after: int, count: int, max_bytes: int) -> None:
        """G4: what the memory says is nothing, or what the storage says up to the memory's end."""
        found = self.recent.after(stream_id, after, count, max_bytes)
        if found is not None:
            stored = self.storage.read_after(stream_id, after, count, max_bytes, soon())
            end = self.recent.head
            assert end is not None
            assert list(found) == [each for each in stored if each.global_position <= end]

    @invariant()
    def every_answer_is_what_the_storage_says(self) -> None:
        if self.every_read and hasattr(self, "publisher"):
            for stream_id in (ALL_STREAMS, *self.streams.values()):
                end = self.version(stream_id)
                for after in range(max(0, end - 12), end + 2):
                    self.compare(stream_id, after, 100, LARGE)
                    self.compare(stream_id, after, 3, 6)

    @rule(drawn=st.none() | commits)
    def connect(self, drawn: list[tuple[str, int]] | None) -> None:
        """Others may commit before the listener reads: it hears of that later."""
        self.look(connected(self.head), meanwhile=lambda: drawn and self.commit(drawn))

    @rule()
    def poll(self) -> None:
        """G13, G23: one look at the storage, and everybody has every event, each once, in order."""
        self.look(moved(self.head))

    def look(self, heard: Heard, meanwhile: Callable[[], object] = _nothing) -> None:
        """Let everybody hear of it, and go on to the head that was heard."""
        while self.on_the_way:
            self.writer_tells()
        self.listen(heard, meanwhile)
        while self.publisher.step() or not self.publisher.heads.all_heard:
            self.publisher.listen()
        assert (self.recent.head or 0) >= heard.head
        for follower in self.followers:
            while follower.hear():
                pass
            start = self.start if follower.stream_id == ALL_STREAMS else 0
            stored = self.storage.read_after(follower.stream_id, start, LARGE, LARGE, soon())
            assert follower.found == stored[: len(follower.found)]
            missing = stored[len(follower.found) :]
            assert not missing or missing[0].global_position > heard.head

    def version(self, stream_id: str) -> int:
        if stream_id == ALL_STREAMS:
            return self.head
        return len(self.storage.read_after(stream_id, 0, LARGE, LARGE, soon()))

    def stored_head(self) -> int:
        return self.storage.stream_info(ALL_STREAMS, soon()).stream_version


HISTORIES = settings(stateful_step_count=50)


@contextmanager
def histories_in(config: Config, *, every_read: bool) -> Iterator[type[RecentMachine]]:
    """Return a machine whose histories all go on in one store."""

    class Histories(RecentMachine):
        pass

    storage = storage_for(config)
    storage.open(init=True, deadline=soon())
    Histories.config, Histories.storage, Histories.every_read = config, storage, every_read
    Histories.appender = storage.append_session()
    try:
        yield Histories
    finally:
        storage.close()


def test_the_memory_says_what_the_storage_in_memory_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """G4, G13, G14, G23: or nothing, and then the storage is asked."""
    step_listeners(monkeypatch)
    with histories_in(Config("memory:"), every_read=True) as machine:
        run_state_machine_as_test(machine, settings=settings(HISTORIES, max_examples=examples(40)))


def test_the_memory_says_what_postgresql_says(
    dsn: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G4, G13, G14, G23: or nothing, and then the storage is asked."""
    step_listeners(monkeypatch)
    with histories_in(Config(dsn, schema=schema, pool_size=2), every_read=False) as machine:
        run_state_machine_as_test(machine, settings=settings(HISTORIES, max_examples=examples(4)))
