"""Snapshots on the port itself: over any history they are what a dict of the newest ones is."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore.ports.stored_snapshots import EncodedSnapshot, StoredSnapshot
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.support.effort import examples

TYPES = ("a", "A", "ä")
LENGTH = 4

types = st.sampled_from(TYPES)
encoded = st.builds(
    EncodedSnapshot,
    types,
    st.sampled_from(["json", "other"]),
    st.binary(max_size=3),
    st.none() | st.binary(max_size=3),
)
recorded = st.tuples(st.integers(1, LENGTH), encoded)


def test_the_newest_one_of_each_type_is_kept(user: User) -> None:
    """G10: recorded, recorded again, deleted, in any order."""
    storage = user.storage

    @settings(max_examples=examples(25))
    @given(st.lists(recorded | types, max_size=12))
    def check(history: list[tuple[int, EncodedSnapshot] | str]) -> None:
        stream_id = f"s-{uuid4()}"
        user.store(stream_id, LENGTH)
        kept: dict[str, tuple[int, EncodedSnapshot]] = {}
        for step in history:
            if isinstance(step, str):
                found = storage.delete_snapshot(stream_id, step, soon())
                assert found == (kept.pop(step, None) is not None)
                continue
            version, snapshot = step
            newest, _ = kept.get(snapshot.snapshot_type, (0, snapshot))
            assert storage.record_snapshot(stream_id, *step, soon()) == (version >= newest)
            if version >= newest:
                kept[snapshot.snapshot_type] = step
        for snapshot_type in TYPES:
            read, after = storage.read_from_snapshot(stream_id, snapshot_type, 10, soon())
            assert read == storage.read_snapshot(stream_id, snapshot_type, soon())
            known = kept.get(snapshot_type)
            version = 0 if known is None else known[0]
            assert without_time(read) == known
            assert [event.position for event in after] == list(range(version + 1, LENGTH + 1))

    check()


def without_time(stored: StoredSnapshot | None) -> tuple[int, EncodedSnapshot] | None:
    if stored is None:
        return None
    assert abs(datetime.now(UTC) - stored.created_at).total_seconds() < 60
    columns = stored.snapshot_type, stored.format, stored.data, stored.metadata
    return stored.stream_version, EncodedSnapshot(*columns)


def test_no_more_events_are_read_than_were_asked_for(user: User) -> None:
    user.store("s", 6)
    storage = user.storage
    storage.record_snapshot("s", 2, EncodedSnapshot("T", "json", b"1", None), soon())
    for snapshot_type, positions in (("T", [3, 4]), ("U", [1, 2])):
        _, events = storage.read_from_snapshot("s", snapshot_type, 2, soon())
        assert [event.position for event in events] == positions
