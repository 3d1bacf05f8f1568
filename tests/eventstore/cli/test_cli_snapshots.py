from __future__ import annotations

import base64

import pytest

from eventstore import CallerRuntime, Config, EventData, EventStore, JsonSerializer, SnapshotData
from tests.support.cli import Shell


class Other(JsonSerializer):
    format = "other"


@pytest.fixture
def shell(dsn: str, schema: str) -> Shell:
    shell = Shell(dsn, schema)
    with EventStore.connect(Config(dsn, schema=schema), runtime=CallerRuntime, init=True) as store:
        store.append_to_stream("order-1", 0, [EventData("T", 1), EventData("T", 2)])
        store.record_snapshot("order-1", 2, SnapshotData("Sum", {"sum": 3}, {"by": "me"}))
    config = Config(dsn, schema=schema, serializer=Other())
    with EventStore.connect(config, runtime=CallerRuntime) as store:
        store.record_snapshot("order-1", 1, SnapshotData("Other", 7))
    return shell


def test_a_snapshot_is_printed_as_json(shell: Shell) -> None:
    [found] = shell.json("snapshots", "read", "order-1", "Sum")
    assert found.pop("created_at").endswith("Z")
    assert found == {
        "stream_id": "order-1",
        "stream_version": 2,
        "snapshot_type": "Sum",
        "data": {"sum": 3},
        "metadata": {"by": "me"},
    }
    assert shell.run("snapshots", "read", "order-1", "Sum").startswith('{"stream_id":"order-1"')


def test_what_another_serializer_wrote_is_printed_raw(shell: Shell) -> None:
    complaint = shell.refused("snapshots", "read", "order-1", "Other", code=1)
    assert "type 'Other' of stream 'order-1' cannot be read here; --raw prints it" in complaint
    [found] = shell.json("snapshots", "read", "order-1", "Other", "--raw")
    assert base64.b64decode(found["data"]) == b"7"


def test_a_snapshot_is_deleted(shell: Shell) -> None:
    assert shell.run("snapshots", "delete", "order-1", "Sum") == "deleted Sum of order-1\n"
    [done] = shell.json("snapshots", "delete", "order-1", "Other")
    assert done == {"stream_id": "order-1", "snapshot_type": "Other", "done": "delete"}


@pytest.mark.parametrize("action", ["read", "delete"])
def test_a_snapshot_that_is_not_there_is_exit_code_1(shell: Shell, action: str) -> None:
    complaint = shell.refused("snapshots", action, "order-1", "sum", code=1)
    assert complaint == "stream 'order-1' has no snapshot of type 'sum'"


def test_a_snapshot_of_no_stream_is_exit_code_1(shell: Shell) -> None:
    complaint = shell.refused("snapshots", "read", "order-2", "Sum", code=1)
    assert complaint == "stream 'order-2' does not exist"
