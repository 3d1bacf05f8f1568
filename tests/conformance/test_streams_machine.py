"""Links and deletions do what lists of events would do, in whatever order they are asked for.

Hypothesis draws histories of appends, links and deletions of both kinds, and compares every answer
and every read with that of a model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar
from uuid import UUID, uuid4

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
    CallerRuntime,
    Config,
    DuplicateEventError,
    EventData,
    EventNotFoundError,
    EventStore,
    EventStoreError,
    ExpectedVersion,
    RecordedEvent,
    StreamDeletedError,
    StreamNotFoundError,
)
from tests.conformance.conftest import opened
from tests.conformance.test_store_machine import drop_schema
from tests.support.effort import examples

STREAMS = ("a", "b", "c")
ANY = ExpectedVersion.ANY

Error = TypeVar("Error", bound=EventStoreError)

streams = st.sampled_from(STREAMS)
numbers = st.integers(0, 1_000)


class Item(NamedTuple):
    """An event as a stream shows it."""

    place: int
    source: str
    version: int
    event_id: UUID


@dataclass
class ModelStream:
    """A stream: its items, its newest version, and whether it was closed."""

    items: list[Item] = field(default_factory=list)
    version: int = 0
    closed: bool = False

    def put(self, source: str, version: int, event_id: UUID) -> None:
        self.version += 1
        self.items.append(Item(self.version, source, version, event_id))


class StreamsMachine(RuleBasedStateMachine):
    """A store and its model."""

    def __init__(self) -> None:
        super().__init__()
        self.config = self.new_config()
        self.keeper = opened(self.config)
        self.store = EventStore.connect(self.config, runtime=CallerRuntime)
        self.streams: dict[str, ModelStream] = {}
        self.all: dict[int, Item] = {}
        """What is in ``$all``, by position."""
        self.head = 0
        self.gone: list[UUID] = []

    @staticmethod
    def new_config() -> Config:
        """Return the settings of a new, empty store."""
        raise NotImplementedError

    def teardown(self) -> None:
        self.store.close()
        self.keeper.close()
        if not self.config.dsn.startswith("memory:"):
            drop_schema(self.config)

    # ── changing ─────────────────────────────────────────────────────────────────────────────

    @rule(stream=streams, count=st.integers(1, 3))
    def append(self, stream: str, count: int) -> None:
        events = [EventData("X", None) for _ in range(count)]
        if self.is_closed(stream):
            self.refusal(StreamDeletedError, lambda: self.appended(stream, events))
            return
        result = self.appended(stream, events)
        known = self.streams.setdefault(stream, ModelStream())
        assert (result.first_version, result.first_global_position) == (
            known.version + 1,
            self.head + 1,
        )
        for event in events:
            self.head += 1
            known.put(stream, known.version + 1, event.event_id)
            self.all[self.head] = Item(self.head, stream, known.version, event.event_id)

    @precondition(lambda self: self.all)
    @rule(stream=streams, drawn=st.lists(numbers, min_size=1, max_size=3, unique=True))
    def link(self, stream: str, drawn: list[int]) -> None:
        stored = sorted(self.all.values())
        items = list(dict.fromkeys(stored[number % len(stored)] for number in drawn))
        known = self.streams.get(stream, ModelStream())
        places = {item.event_id: item.place for item in known.items}
        held = [places.get(item.event_id) for item in items]
        ids = [item.event_id for item in items]
        first, is_own = held[0], any(item.source == stream for item in items)
        if first is not None and not is_own and held == [*range(first, first + len(held))]:
            again = self.store.link_to_stream(stream, ANY, ids)
            assert (again.first_version, again.repeated) == (first, True)
        elif any(place is not None for place in held):
            error = self.refusal(DuplicateEventError, lambda: self.linked(stream, ids))
            assert error.event_id == next(i for i in ids if i in places)
        elif known.closed:
            self.refusal(StreamDeletedError, lambda: self.linked(stream, ids))
        else:
            result = self.store.link_to_stream(stream, known.version, ids)
            assert result.first_version == known.version + 1
            self.streams[stream] = known
            for item in items:
                known.put(item.source, item.version, item.event_id)
            assert result.last_version == known.version

    @precondition(lambda self: self.all)
    @rule(stream=streams, which=numbers)
    def link_what_is_not_there(self, stream: str, which: int) -> None:
        unknown = self.gone[which % len(self.gone)] if self.gone else uuid4()
        known = sorted(self.all.values())[which % len(self.all)].event_id
        error = self.refusal(EventNotFoundError, lambda: self.linked(stream, [known, unknown]))
        assert error.event_id == unknown

    @rule(stream=streams, hard=st.booleans())
    def delete(self, stream: str, hard: bool) -> None:
        def delete() -> None:
            self.store.delete_stream(stream, ANY, hard=hard)

        known = self.streams.get(stream)
        if known is None:
            self.refusal(StreamNotFoundError, delete)
        elif known.closed:
            self.refusal(StreamDeletedError, delete)
        elif hard:
            delete()
            del self.streams[stream]
            self.gone += [item.event_id for item in self.all.values() if item.source == stream]
            self.all = {n: item for n, item in self.all.items() if item.source != stream}
            for other in self.streams.values():
                other.items = [item for item in other.items if item.source != stream]
        else:
            delete()
            known.closed = True

    def appended(self, stream: str, events: list[EventData]) -> AppendResult:
        return self.store.append_to_stream(stream, ANY, events)

    def linked(self, stream: str, ids: list[UUID]) -> object:
        return self.store.link_to_stream(stream, ANY, ids)

    def is_closed(self, stream: str) -> bool:
        return stream in self.streams and self.streams[stream].closed

    def refusal(self, kind: type[Error], act: Callable[[], object]) -> Error:
        """Return the error with which *act* must be refused."""
        try:
            done = act()
        except kind as error:
            return error
        raise AssertionError(f"not refused: {done}")

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    @invariant()
    def every_stream_shows_its_items(self) -> None:
        """G2, G10, G35, G36: forward and backward, its own events and the linked ones."""
        for stream in STREAMS:
            known = self.streams.get(stream)
            if known is None or known.closed:
                missing = StreamNotFoundError if known is None else StreamDeletedError
                self.refusal(missing, lambda s=stream: self.store.read_stream_forward(s))  # type: ignore[misc]
                continue
            forward = self.store.read_stream_forward(stream)
            backward = list(self.store.stream_backward(stream, batch_size=2))
            assert [_item(event) for event in forward] == known.items
            assert [_item(event) for event in backward] == known.items[::-1]
            assert self.store.stream_info(stream).stream_version == known.version

    @invariant()
    def all_streams_show_what_is_left(self) -> None:
        """G3, G36: at the positions of the append, under the names of then."""
        forward = list(self.store.stream_all_forward(batch_size=3))
        backward = self.store.read_all_streams_backward()
        assert [_item(event) for event in forward] == sorted(self.all.values())
        assert backward == forward[::-1]
        assert self.store.stream_info("$all").stream_version == self.head

    @invariant()
    def the_streams_are_listed(self) -> None:
        listed = {info.stream_id: info.deleted_at is not None for info in self.store.streams()}
        assert listed == {name: known.closed for name, known in self.streams.items()}


def _item(event: RecordedEvent) -> Item:
    return Item(event.position, event.stream_id, event.stream_version, event.event_id)


HISTORIES = settings(stateful_step_count=30)


def test_streams_in_postgresql_are_what_their_model_is(dsn: str) -> None:
    """G2, G3, G6, G35, G36: over any history, and what is left is sound."""

    class PostgresMachine(StreamsMachine):
        @staticmethod
        def new_config() -> Config:
            schema = f"t_{uuid4().hex[:12]}"
            return Config(dsn, schema=schema, enable_hard_deletes=True)

    run_state_machine_as_test(
        PostgresMachine, settings=settings(HISTORIES, max_examples=examples(10))
    )


def test_streams_in_memory_are_what_their_model_is() -> None:
    """G2, G3, G6, G35, G36: over any history."""

    class MemoryMachine(StreamsMachine):
        @staticmethod
        def new_config() -> Config:
            return Config(f"memory:{uuid4().hex}", enable_hard_deletes=True)

    run_state_machine_as_test(
        MemoryMachine, settings=settings(HISTORIES, max_examples=examples(40))
    )
