"""Snapshots by the facade, on both storages and both runtimes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from eventstore import (
    Config,
    EventStore,
    ExpectedVersion,
    JsonSerializer,
    NotRunningError,
    SerializationError,
    Snapshot,
    SnapshotData,
    StreamDeletedError,
    StreamNotFoundError,
)
from eventstore.storages.postgres import PostgresStorage
from tests.conformance.conftest import Connect, Surface, connect_by, numbered, opened, soon

ANY = ExpectedVersion.ANY


@dataclass
class Balance:
    amount: int


@dataclass
class LaterBalance:
    amount: int
    currency: str


class Shouting(JsonSerializer):
    format = "shouting"


@pytest.fixture
def account(store: EventStore) -> EventStore:
    """A store with a stream of five events."""
    store.append_to_stream("account-1", ANY, numbered(1, 5))
    return store


def test_a_stream_has_no_snapshot_at_first(account: EventStore) -> None:
    """SNP-01, API-34: that is no error, as the events say all that one would say."""
    assert account.read_snapshot("account-1", "Balance") is None


def test_what_is_read_is_what_was_recorded(account: EventStore) -> None:
    """SNP-02, SNP-03, API-33, G10."""
    data, metadata = {"amount": 7, "of": ["ä", None]}, {"by": "me"}

    assert account.record_snapshot("account-1", 3, SnapshotData("Balance", data, metadata))

    found = account.read_snapshot("account-1", "Balance")
    assert found is not None
    assert found == Snapshot("account-1", 3, "Balance", data, metadata, found.created_at)
    assert found.created_at.tzinfo is UTC
    assert abs(datetime.now(UTC) - found.created_at) < timedelta(minutes=1)


def test_a_newer_one_replaces_an_older_one_and_never_the_other_way_round(
    account: EventStore,
) -> None:
    """SNP-04: data, metadata and time are those of the newer one."""
    assert account.record_snapshot("account-1", 2, SnapshotData("Balance", 2, "first"))
    first = account.read_snapshot("account-1", "Balance")
    assert account.record_snapshot("account-1", 4, SnapshotData("Balance", 4))
    newer = account.read_snapshot("account-1", "Balance")

    assert not account.record_snapshot("account-1", 3, SnapshotData("Balance", 3))

    assert newer is not None
    assert first is not None
    assert (newer.stream_version, newer.data, newer.metadata) == (4, 4, None)
    assert newer.created_at > first.created_at
    assert account.read_snapshot("account-1", "Balance") == newer


def test_of_one_version_the_last_one_counts_and_the_same_one_changes_nothing(
    account: EventStore,
) -> None:
    """SNP-04: whoever repeats a call whose answer was lost changes nothing."""
    snapshot = SnapshotData("Balance", {"amount": 1}, {"by": "me"})
    assert account.record_snapshot("account-1", 5, snapshot)
    first = account.read_snapshot("account-1", "Balance")
    assert account.record_snapshot("account-1", 5, snapshot)
    assert account.read_snapshot("account-1", "Balance") == first

    for other in (SnapshotData("Balance", {"amount": 1}), SnapshotData("Balance", {"amount": 2})):
        assert account.record_snapshot("account-1", 5, other)
        found = account.read_snapshot("account-1", "Balance")
        assert found is not None
        assert (found.data, found.metadata) == (other.data, None)


def test_each_type_of_each_stream_has_one_of_its_own(account: EventStore) -> None:
    """SNP-05: the original has one per stream; here another type is ignored, not replaced."""
    account.append_to_stream("account-2", ANY, numbered(1, 1))
    account.record_snapshot("account-1", 4, SnapshotData("Balance", "a"))
    account.record_snapshot("account-1", 2, SnapshotData("Balance-2", "b"))
    account.record_snapshot("account-2", 1, SnapshotData("Balance", "c"))

    def data(stream_id: str, snapshot_type: str) -> Any:
        found = account.read_snapshot(stream_id, snapshot_type)
        return found and (found.stream_version, found.data)

    assert data("account-1", "Balance") == (4, "a")
    assert data("account-1", "Balance-2") == (2, "b")
    assert data("account-2", "Balance") == (1, "c")
    assert data("account-2", "Balance-2") is None
    assert data("account-1", "balance") is None


def test_a_deleted_one_is_gone_and_deleting_none_is_no_error(account: EventStore) -> None:
    """SNP-06, SNP-07, API-34: also of a stream that does not exist; others stay."""
    for snapshot_type in ("Balance", "Other"):
        account.record_snapshot("account-1", 3, SnapshotData(snapshot_type, 1))

    assert account.delete_snapshot("account-1", "Balance")

    assert account.read_snapshot("account-1", "Balance") is None
    assert account.read_snapshot("account-1", "Other") is not None
    assert not account.delete_snapshot("account-1", "Balance")
    assert not account.delete_snapshot("missing", "Balance")
    assert account.record_snapshot("account-1", 1, SnapshotData("Balance", 1))


def test_a_snapshot_takes_no_place_among_the_events(account: EventStore) -> None:
    """G3: neither a position nor a version."""
    account.record_snapshot("account-1", 5, SnapshotData("Balance", 1))
    assert account.stream_info("account-1").stream_version == 5
    result = account.append_to_stream("account-1", 5, numbered(6, 6))
    assert (result.first_version, result.first_global_position) == (6, 6)
    assert [e.data["event"] for e in account.read_all_streams_forward()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("version", [6, 2**63 - 1])
def test_a_version_that_the_stream_has_not_reached_is_refused(
    account: EventStore, version: int
) -> None:
    """G28: nothing is recorded."""
    message = f"stream_version must be 0 to the head of 'account-1', 5: {version}"
    with pytest.raises(ValueError, match=message):
        account.record_snapshot("account-1", version, SnapshotData("Balance", 1))
    assert account.read_snapshot("account-1", "Balance") is None


def test_a_missing_stream_is_an_error_of_all_but_a_delete(store: EventStore) -> None:
    """G12."""
    for call in (
        lambda: store.record_snapshot("missing", 1, SnapshotData("Balance", 1)),
        lambda: store.read_snapshot("missing", "Balance"),
        lambda: store.read_stream_from_snapshot("missing", "Balance"),
    ):
        with pytest.raises(StreamNotFoundError, match="'missing'"):
            call()
    assert store.read_stream_from_snapshot("missing", "Balance", missing_ok=True) == (None, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("$all", 1, SnapshotData("B", 1)), r"stream_id must not start with '\$'"),
        ((1, 1, SnapshotData("B", 1)), "stream_id must be a str"),
        (("account-1", 0, SnapshotData("B", 1)), "stream_version must be at least 1: 0"),
        (("account-1", True, SnapshotData("B", 1)), "stream_version must be an int"),
        (("account-1", SnapshotData("B", 1), 1), "stream_version must be an int"),
        (("account-1", 1, {"amount": 1}), "snapshot must be SnapshotData, not dict: {'amount': 1}"),
    ],
)
def test_what_cannot_be_recorded_is_named(
    account: EventStore, arguments: Any, message: str
) -> None:
    """G28."""
    with pytest.raises((TypeError, ValueError), match=message):
        account.record_snapshot(*arguments)


@pytest.mark.parametrize(
    ("name", "kind"), [("", ValueError), ("x" * 1_001, ValueError), (1, TypeError)]
)
def test_what_is_no_type_is_refused_everywhere(
    account: EventStore, name: Any, kind: type[Exception]
) -> None:
    """G28."""
    for call in (
        lambda: SnapshotData(name, 1),
        lambda: account.read_snapshot("account-1", name),
        lambda: account.read_stream_from_snapshot("account-1", name),
        lambda: account.delete_snapshot("account-1", name),
    ):
        with pytest.raises(kind, match="snapshot_type"):
            call()


@pytest.mark.parametrize(
    ("snapshot", "message"),
    [
        (SnapshotData("Balance", float("nan")), "snapshot type 'Balance': data: "),
        (SnapshotData("Balance", 1, {1: 2}), "snapshot type 'Balance': metadata: "),
        (SnapshotData.of(Balance(1)), r"snapshot type 'Balance': class Balance is not in Config"),
    ],
)
def test_what_cannot_be_serialized_is_an_error_that_says_so(
    account: EventStore, snapshot: SnapshotData, message: str
) -> None:
    """G28."""
    with pytest.raises(SerializationError, match=message):
        account.record_snapshot("account-1", 1, snapshot)
    assert account.read_snapshot("account-1", "Balance") is None


def test_a_registered_class_comes_back_typed(connect: Connect) -> None:
    """G10: named by the registry, as events are; `raw` shows the stored bytes."""
    store = connect(types={"balance": Balance})
    store.append_to_stream("a", ANY, numbered(1, 1))

    store.record_snapshot("a", 1, SnapshotData.of(Balance(7), {"by": "me"}))

    found, raw = store.read_snapshot("a", "balance"), store.read_snapshot("a", "balance", raw=True)
    assert found is not None
    assert (found.data, found.metadata) == (Balance(7), {"by": "me"})
    assert raw is not None
    assert (raw.data, raw.metadata) == (b'{"amount":7}', b'{"by":"me"}')
    assert (raw.stream_version, raw.created_at) == (found.stream_version, found.created_at)


def test_a_snapshot_of_another_version_of_its_class_is_ignored(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """G30: it is as if there was none, until there is one again; the log says so on request."""
    caplog.set_level("INFO", "eventstore")
    old, new = connect(types={"balance": Balance}), connect(types={"balance": LaterBalance})
    old.append_to_stream("a", ANY, numbered(1, 2))
    old.record_snapshot("a", 1, SnapshotData.of(Balance(7)))

    assert new.read_snapshot("a", "balance") is None
    assert "snapshot ignored stream_id='a' reason=\"snapshot type 'balance': " in caplog.text
    assert new.read_stream_from_snapshot("a", "balance") == (None, new.read_stream_forward("a"))
    stored = new.read_snapshot("a", "balance", raw=True)
    assert stored is not None
    assert stored.data == b'{"amount":7}'

    assert new.record_snapshot("a", 1, SnapshotData.of(LaterBalance(7, "EUR")))
    snapshot, events = new.read_stream_from_snapshot("a", "balance")
    assert snapshot is not None
    assert snapshot.data == LaterBalance(7, "EUR")
    assert [event.stream_version for event in events] == [2]


def test_a_snapshot_of_another_serializer_is_ignored(connect: Connect) -> None:
    """G30."""
    plain, other = connect(), connect(serializer=Shouting())
    plain.append_to_stream("a", ANY, numbered(1, 1))
    plain.record_snapshot("a", 1, SnapshotData("Balance", 7))

    assert other.read_snapshot("a", "Balance") is None
    assert plain.read_snapshot("a", "Balance") is not None


def test_a_stream_is_read_from_its_snapshot_on(account: EventStore) -> None:
    """G10: snapshot and events together are the stream."""
    account.record_snapshot("account-1", 3, SnapshotData("Balance", {"amount": 3}))

    snapshot, events = account.read_stream_from_snapshot("account-1", "Balance")

    assert snapshot == account.read_snapshot("account-1", "Balance")
    assert events == account.read_stream_forward("account-1", 4)
    assert [event.stream_version for event in events] == [4, 5]
    assert account.read_stream_from_snapshot("account-1", "Other") == (
        None,
        account.read_stream_forward("account-1"),
    )
    raw_snapshot, raw_events = account.read_stream_from_snapshot("account-1", "Balance", raw=True)
    assert raw_snapshot is not None
    assert raw_snapshot.data == b'{"amount":3}'
    assert raw_events == account.read_stream_forward("account-1", 4, raw=True)


def test_a_snapshot_of_the_newest_version_leaves_no_event_to_read(account: EventStore) -> None:
    account.record_snapshot("account-1", 5, SnapshotData("Balance", 5))
    snapshot, events = account.read_stream_from_snapshot("account-1", "Balance")
    assert snapshot is not None
    assert events == []


@pytest.mark.parametrize("after", [999, 1_000, 1_001, 2_500])
def test_any_number_of_events_follows_a_snapshot(store: EventStore, after: int) -> None:
    """G11: they are read in pages, none is left out and none comes twice."""
    store.append_to_stream("long", ANY, numbered(1, 2 + after))
    store.record_snapshot("long", 2, SnapshotData("Sum", 3))

    _, events = store.read_stream_from_snapshot("long", "Sum")

    assert [event.stream_version for event in events] == list(range(3, 3 + after))


def test_a_stream_of_links_is_read_from_its_snapshot_on(account: EventStore) -> None:
    """G10, G35: its versions are the places in it."""
    account.append_to_stream("all", ANY, numbered(6, 6))
    account.link_to_stream("all", 1, account.read_stream_forward("account-1"))
    assert account.record_snapshot("all", 4, SnapshotData("Sum", 12))

    snapshot, events = account.read_stream_from_snapshot("all", "Sum")

    assert snapshot is not None
    assert [(e.position, e.stream_id, e.data["event"]) for e in events] == [
        (5, "account-1", 4),
        (6, "account-1", 5),
    ]


def test_a_deleted_stream_has_no_snapshot_to_read(account: EventStore) -> None:
    """G12, G36: it can be deleted still."""
    account.record_snapshot("account-1", 3, SnapshotData("Balance", 3))
    account.delete_stream("account-1", 5)

    for call in (
        lambda: account.record_snapshot("account-1", 4, SnapshotData("Balance", 4)),
        lambda: account.read_snapshot("account-1", "Balance"),
        lambda: account.read_stream_from_snapshot("account-1", "Balance", missing_ok=True),
    ):
        with pytest.raises(StreamDeletedError, match="'account-1' was deleted at"):
            call()
    assert account.delete_snapshot("account-1", "Balance")
    assert not account.delete_snapshot("account-1", "Balance")


def test_a_stream_that_is_created_again_has_no_snapshot(connect: Connect) -> None:
    """G36: the hard delete took it along; the new stream is longer than the old one was."""
    store = connect(enable_hard_deletes=True)
    store.append_to_stream("a", 0, numbered(1, 3))
    store.append_to_stream("b", 0, numbered(1, 1))
    for stream_id, version in (("a", 2), ("b", 1)):
        store.record_snapshot(stream_id, version, SnapshotData("Sum", version))

    store.delete_stream("a", 3, hard=True)
    with pytest.raises(StreamNotFoundError):
        store.read_snapshot("a", "Sum")
    store.append_to_stream("a", 0, numbered(4, 8))

    assert store.read_stream_from_snapshot("a", "Sum") == (None, store.read_stream_forward("a"))
    assert not store.delete_snapshot("a", "Sum")
    assert store.record_snapshot("a", 1, SnapshotData("Sum", 4))
    assert store.read_snapshot("b", "Sum") is not None


def test_two_stores_have_snapshots_of_their_own(
    config: Config, surface: Surface, account: EventStore
) -> None:
    """MUL-06."""
    other_config = Config(
        f"memory:{uuid4().hex}" if config.dsn.startswith("memory:") else config.dsn,
        schema=f"{config.schema}_other",
    )
    keeper = opened(other_config)
    try:
        with connect_by(surface, other_config) as other:
            other.append_to_stream("account-1", ANY, numbered(1, 2))
            account.record_snapshot("account-1", 3, SnapshotData("Balance", "ours"))
            assert other.read_snapshot("account-1", "Balance") is None
            other.record_snapshot("account-1", 1, SnapshotData("Balance", "theirs"))
            for store, data in ((account, "ours"), (other, "theirs")):
                found = store.read_snapshot("account-1", "Balance")
                assert found is not None
                assert found.data == data
    finally:
        if isinstance(keeper, PostgresStorage):
            keeper.drop(soon())
        keeper.close()


def test_a_closed_store_has_no_snapshots(account: EventStore) -> None:
    """G26."""
    account.close()
    for call in (
        lambda: account.record_snapshot("account-1", 1, SnapshotData("Balance", 1)),
        lambda: account.read_snapshot("account-1", "Balance"),
        lambda: account.read_stream_from_snapshot("account-1", "Balance"),
        lambda: account.delete_snapshot("account-1", "Balance"),
    ):
        with pytest.raises(NotRunningError):
            call()
