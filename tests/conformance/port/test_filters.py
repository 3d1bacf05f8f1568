"""Reads with a filter: the database, the memory and a plain predicate choose the same events."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.model.errors import StreamDeletedError, StreamNotFoundError
from eventstore.model.event_filter import EventFilter, Scalar
from eventstore.model.names import MAX_POSITION
from eventstore.ports.changes import Deletion, Link
from eventstore.ports.reads import ReadDirection
from eventstore.ports.storage import Storage
from eventstore.ports.stored_events import EncodedEvent, StoredEvent
from eventstore.storages.memory import event_pages
from eventstore.storages.postgres import matching_reader
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import ANY, User, event, events, part

FORWARD, BACKWARD = ReadDirection.FORWARD, ReadDirection.BACKWARD

TYPES = [
    "Placed",
    "placed",
    "Placed ",
    "a'b",
    'a"b',
    "a\\b",
    "%",
    "_",
    "{}",
    "é",
    "e\u0301",
    "\U0010ffff",
]
STREAMS = [
    "order-1",
    "order-10",
    "order_1",
    "Order-1",
    "order%",
    "or",
    "\\x6f",
    "東-1",
    "\U0010ffff1",
]
READ = ["order-1", "or", "linked"]
"""Streams that are read, besides all of them."""
SCALARS: list[Scalar] = [
    *[
        "",
        "a",
        "A",
        "1",
        "true",
        "null",
        "a\\b",
        'a"b',
        "\n",
        "é",
        "e\u0301",
        "\U0001f600",
        "{}",
        "[1]",
    ],
    *[
        True,
        False,
        None,
        0,
        1,
        -1,
        0.5,
        1e300,
        1e-300,
        0.1,
        10**30,
        2**53,
        2**53 + 1,
        123456789012345678,
    ],
]
KEYS = ["", "a", "A", "a.b", "a\\b", 'a"b', "é", "$", "1"]


class Row(NamedTuple):
    """What is stored, and what its metadata means; None: no object."""

    event_type: str
    stream_id: str
    format: str
    metadata: bytes | None
    meaning: dict[str, Any] | None


WRITTEN: list[tuple[bytes, dict[str, Any] | None]] = [
    (b'{"\\u0061": "\\u0061"}', {"a": "a"}),
    (b' { "a" : 1.0e0 } ', {"a": 1}),
    (b'{"a": 10E-1, "A": -0.0}', {"a": 1, "A": 0}),
    (b'{"a": "x", "a": 1}', {"a": 1}),
    (b'{"a": [1], "A": {"a": 1}}', {}),
    (b'{"a": 1, "x": "\\u0000"}', {"a": 1}),
    (b'{"a": "a", "x": "\\ud800"}', {"a": "a"}),
    (b'{"a": 1, "x": 1e999999}', {"a": 1}),
    (b'{"a": 1, "x": ' + b"9" * 5_000 + b"}", {"a": 1}),
    (b'{"a": true, "x": ' + b"[" * 300 + b"]" * 300 + b"}", {"a": True}),
    (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
]
"""Metadata as another program may write it."""

UNREADABLE = [
    b"[1]",
    b'"a"',
    b"1",
    b"null",
    b'{"a": 1',
    b'{"a": NaN}',
    b"\xff",
    b"",
    b"\xef\xbb\xbf{}",
]
"""Metadata of which only its reader can tell what it means."""


def _rows() -> list[Row]:
    plain = [{key: value} for key in KEYS for value in SCALARS]
    plain += [{"a": value, "A": value} for value in SCALARS]
    meanings: list[tuple[bytes | None, dict[str, Any] | None]] = [(None, {}), (b"{}", {})]
    meanings += [(json.dumps(each, ensure_ascii=False).encode(), each) for each in plain]
    meanings += [*WRITTEN, *((each, None) for each in UNREADABLE)]
    rows = [
        Row(TYPES[n % len(TYPES)], STREAMS[n % len(STREAMS)], "json", written, meaning)
        for n, (written, meaning) in enumerate(meanings)
    ]
    foreign: list[tuple[bytes | None, dict[str, Any] | None]] = [
        (b'{"a": 1}', None),
        (b"\x00", None),
        (None, {}),
    ]
    return rows + [Row("Placed", "order-1", "other", *each) for each in foreign]


ROWS = _rows()


def holds(row: Row, given: dict[str, Any]) -> bool | None:
    """Return whether *row* matches; None if only the reader of its metadata can tell."""
    types, prefix, wanted = (
        given.get("event_types"),
        given.get("stream_prefix"),
        given.get("metadata"),
    )
    if types is not None and row.event_type not in ([types] if isinstance(types, str) else types):
        return False
    if prefix is not None and row.stream_id[: len(prefix)] != prefix:
        return False
    if wanted is None:
        return True
    if row.meaning is None:
        return None
    for key, value in wanted.items():
        some = value if isinstance(value, list) else [value]
        if key not in row.meaning or not any(same(row.meaning[key], each) for each in some):
            return False
    return True


def same(one: Any, other: Any) -> bool:
    """Tell whether two scalars are the same in JSON."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return type(one is None) is type(other is None) and one == other


def filters() -> st.SearchStrategy[dict[str, Any]]:
    scalar = st.sampled_from(SCALARS)
    wanted = st.dictionaries(
        st.sampled_from(KEYS),
        scalar | st.lists(scalar, min_size=1, max_size=4),
        min_size=1,
        max_size=2,
    )
    prefixes = sorted({name[:length] for name in STREAMS for length in range(1, len(name) + 1)})
    types = st.sampled_from(TYPES) | st.lists(st.sampled_from(TYPES), min_size=1)
    parts = {"event_types": types, "stream_prefix": st.sampled_from(prefixes), "metadata": wanted}
    return st.fixed_dictionaries({}, optional=parts).filter(bool)


def parsed(**given: Any) -> EventFilter:
    event_filter = EventFilter.parse(given)
    assert event_filter is not None
    return event_filter


def fill(user: User) -> None:
    """Store `ROWS`, and link each tenth to one stream, between events of its own."""
    stored = [
        (row, EncodedEvent(event().event_id, row.event_type, b"1", row.metadata, format=row.format))
        for row in ROWS
    ]
    for row, each in stored:
        user.append(part(row.stream_id, (each,)))
    for _, each in stored[::10]:
        user.storage.link(Link("linked", ANY, (each.event_id,)), soon())
        user.append(part("linked", events(1)))


def whole(
    storage: Storage, stream_id: str, direction: ReadDirection, event_filter: EventFilter
) -> list[StoredEvent]:
    """Read all that matches, page by page."""
    found: list[StoredEvent] = []
    start, at_end = 1 if direction is FORWARD else 10**6, False
    while not at_end:
        page = storage.read_matching(stream_id, start, 7, direction, event_filter, soon())
        found += page.events
        gone_on = page.up_to + direction.value
        assert page.at_end or (gone_on - start) * direction.value > 0, "each page gets further"
        start, at_end = gone_on, page.at_end
    return found


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one read look at 50 positions, so that many pages are empty or end early."""
    for module in (event_pages, matching_reader):
        monkeypatch.setattr(module, "positions_at_once", lambda _filter: 50)


def test_it_chooses_what_a_plain_predicate_chooses(user: User, narrow: None) -> None:
    """G40, G11: of all, of a stream, of what is linked; both ways, and for a subscription."""
    fill(user)
    storage = user.storage
    written = [e for e in storage.read_all(1, 10_000, FORWARD, soon()) if e.stream_id != "linked"]
    rows = {e.event_id: row for e, row in zip(written, ROWS, strict=True)}
    own = Row("Happened", "linked", "json", None, {})
    storage.delete_stream(Deletion(STREAMS[1], ANY, hard=False), soon())
    storage.delete_stream(Deletion(STREAMS[2], ANY, hard=True), soon())
    candidates = {
        "$all": storage.read_all(1, 10_000, FORWARD, soon()),
        **{name: storage.read_stream(name, 1, 10_000, FORWARD, soon()) for name in READ},
    }

    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(filters(), st.sampled_from([*candidates]), st.sampled_from(ReadDirection))
    def choose(given: dict[str, Any], stream_id: str, direction: ReadDirection) -> None:
        event_filter = parsed(**given)
        decided = [(e, holds(rows.get(e.event_id, own), given)) for e in candidates[stream_id]]
        wanted = [e for e, is_wanted in decided if is_wanted is not False]
        assert whole(storage, stream_id, direction, event_filter) == wanted[:: direction.value]
        assert subscribed(storage, stream_id, event_filter) == wanted
        for e, is_wanted in decided:
            assert event_filter.decide(e) is is_wanted

    choose()


def subscribed(storage: Storage, stream_id: str, event_filter: EventFilter) -> list[StoredEvent]:
    """Read all that matches, as a subscription does."""
    found: list[StoredEvent] = []
    after = 0
    while True:
        page = storage.read_matching_after(stream_id, after, 9, 1_000, event_filter, soon())
        found += page.events
        if page.up_to == after:
            assert page.at_end
            return found
        after = page.up_to


NOTHING = parsed(event_types="Nothing")
EVERYTHING = parsed(event_types="Happened")


@pytest.mark.parametrize("stream_id", ["$all", "order-1"])
def test_it_looks_up_to_the_head_and_not_beyond(user: User, stream_id: str) -> None:
    """G40, G15: where nothing matches, all that is stored at the moment was looked at."""
    user.store("order-1", 3)
    storage = user.storage
    for start, up_to in ((1, 3), (3, 3), (4, 3), (9, 8)):
        looked = storage.read_matching(stream_id, start, 9, FORWARD, NOTHING, soon())
        assert looked == ([], up_to, True)
    assert storage.read_matching(stream_id, MAX_POSITION, 9, FORWARD, NOTHING, soon()).at_end
    assert storage.read_matching(stream_id, 9, 9, BACKWARD, NOTHING, soon()) == ([], 1, True)
    assert storage.read_matching_after(stream_id, 1, 9, 99, NOTHING, soon()) == ([], 3, True)


@pytest.mark.parametrize("stream_id", ["$all", "order-1"])
def test_a_page_that_is_full_ends_at_its_last_event(user: User, stream_id: str) -> None:
    """G11, G15: by their number or by their bytes; the first event is read whatever its size."""
    user.append(part("order-1", (event(b"1" * 10), event(b"2" * 10), event(b"3" * 30))))
    storage = user.storage

    def read(count: int, max_bytes: int | None, start: int = 1) -> tuple[list[int], int, bool]:
        page = storage.read_matching(
            stream_id, start, count, FORWARD, EVERYTHING, soon(), max_bytes
        )
        return [e.position for e in page.events], page.up_to, page.at_end

    assert read(2, None) == ([1, 2], 2, False)
    assert read(9, 20) == ([1, 2], 2, False)
    assert read(9, 49) == ([1, 2], 2, False)
    assert read(9, 50) == ([1, 2, 3], 3, True)
    assert read(9, 1, start=3) == ([3], 3, True)
    assert read(3, None) == ([1, 2, 3], 3, True)
    back = storage.read_matching(stream_id, 3, 2, BACKWARD, EVERYTHING, soon())
    assert ([e.position for e in back.events], back.up_to, back.at_end) == ([3, 2], 2, False)


def test_positions_that_were_deleted_are_looked_at_too(user: User) -> None:
    """G40, G15, G36: the head is the newest position ever given out."""
    user.store("order-1", 2)
    user.store("doomed", 2)
    user.storage.delete_stream(Deletion("doomed", ANY, hard=True), soon())
    page = user.storage.read_matching_after("$all", 0, 9, 1_000, EVERYTHING, soon())
    assert ([e.position for e in page.events], page.up_to, page.at_end) == ([1, 2], 4, True)


def test_a_stream_that_is_missing_or_deleted(user: User) -> None:
    """G12: a read says which; a subscription goes on with what is left, and waits for more."""
    user.store("deleted", 2)
    user.storage.delete_stream(Deletion("deleted", ANY, hard=False), soon())
    with pytest.raises(StreamNotFoundError, match="missing"):
        user.storage.read_matching("missing", 1, 9, FORWARD, NOTHING, soon())
    with pytest.raises(StreamDeletedError, match="deleted"):
        user.storage.read_matching("deleted", 1, 9, FORWARD, NOTHING, soon())
    missing = user.storage.read_matching_after("missing", 7, 9, 99, NOTHING, soon())
    assert missing == ([], 7, True)
    left = user.storage.read_matching_after("deleted", 0, 9, 99, EVERYTHING, soon())
    assert ([e.position for e in left.events], left.up_to) == ([1, 2], 2)


def test_an_empty_store_has_nothing_to_look_at(user: User) -> None:
    """G15: not even the first position."""
    assert user.storage.read_matching_after("$all", 0, 9, 99, NOTHING, soon()) == ([], 0, True)
    assert user.storage.read_matching("$all", 9, 9, BACKWARD, NOTHING, soon()).at_end
