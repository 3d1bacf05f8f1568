"""The state of streams by the facade, on both storages and both runtimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from eventstore import EventStore, ExpectedVersion, StreamInfo, StreamNotFoundError
from tests.conformance.conftest import numbered

ANY = ExpectedVersion.ANY


def test_the_store_as_a_whole_has_a_head(store: EventStore) -> None:
    """INF-01: under the name $all, also when it is empty."""
    empty = store.stream_info("$all")
    store.append_to_stream("a", ANY, numbered(1, 3))

    assert empty == StreamInfo(stream_id="$all", stream_version=0, created_at=None, deleted_at=None)
    assert store.stream_info("$all").stream_version == 3


def test_streams_have_versions_of_their_own(store: EventStore) -> None:
    """INF-02, INF-08, INF-09, INF-10, SST-27: whatever was appended between."""
    store.append_to_stream("a", ANY, numbered(1, 1))
    assert store.stream_info("a").stream_version == 1
    store.append_to_stream("b", ANY, numbered(1, 2))
    store.append_to_stream("a", ANY, numbered(2, 3))

    assert store.stream_info("a").stream_version == 3
    assert store.stream_info("b").stream_version == 2


def test_a_stream_was_created_with_its_first_event(store: EventStore) -> None:
    """INF-06, INF-08, INF-10: and stays so."""
    store.append_to_stream("a", ANY, numbered(1, 1))
    info = store.stream_info("a")
    store.append_to_stream("a", ANY, numbered(2, 2))

    first = store.read_stream_forward("a")[0]
    assert info.created_at == first.created_at == store.stream_info("a").created_at
    assert info.created_at is not None
    assert abs(datetime.now(UTC) - info.created_at) < timedelta(minutes=1)
    assert info.deleted_at is None


def test_a_missing_stream_has_no_state(store: EventStore) -> None:
    """INF-07, INF-03, G12."""
    store.append_to_stream("a", ANY, numbered(1, 1))

    with pytest.raises(StreamNotFoundError, match="'b'"):
        store.stream_info("b")
