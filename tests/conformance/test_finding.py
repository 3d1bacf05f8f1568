"""Finding an event by its id, and streams by their names; see `EventStore`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from eventstore import EventData, EventStore, ExpectedVersion

ANY = ExpectedVersion.ANY


def test_an_event_is_found_by_its_id(store: EventStore) -> None:
    wanted = EventData("X", {"n": 2}, {"by": "me"})
    store.append_to_stream("a", ANY, [EventData("X", {"n": 1}), wanted])
    store.append_to_stream("b", ANY, [EventData("Y", {"n": 3})])

    found = store.find_event(wanted.event_id)

    assert found == store.read_all_streams_forward()[1]
    assert found is not None
    assert (found.stream_id, found.stream_version, found.position) == ("a", 2, 2)
    raw = store.find_event(wanted.event_id, raw=True)
    assert raw is not None
    assert raw.data == b'{"n":2}'
    assert store.find_event(uuid4()) is None


def test_streams_are_found_by_their_names(store: EventStore) -> None:
    for name in ("order-2", "cart-1", "order-1"):
        store.append_to_stream(name, ANY, [EventData("X", 1)])

    def listed(**how: Any) -> list[str]:
        return [info.stream_id for info in store.streams(**how)]

    assert listed() == ["cart-1", "order-1", "order-2"]
    assert listed(prefix="order-") == ["order-1", "order-2"]
    assert listed(search="-1") == ["cart-1", "order-1"]
    assert listed(order="creation") == ["order-2", "cart-1", "order-1"]
    assert listed(order="creation", descending=True, count=1) == ["order-1"]
    assert listed(after="order-2", order="creation", prefix="order-") == ["order-1"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"prefix": 1}, "prefix must be a str"),
        ({"search": "a\0"}, "search must not contain NUL"),
        ({"order": "version"}, "order must be one of 'stream_id', 'creation': 'version'"),
        ({"descending": 1}, "descending must be a bool"),
    ],
)
def test_what_names_no_listing_is_refused(store: EventStore, how: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        store.streams(**how)
    with pytest.raises(TypeError, match="event_id"):
        store.find_event("x")  # type: ignore[arg-type]
