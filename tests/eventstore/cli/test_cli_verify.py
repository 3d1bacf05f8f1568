"""What a store must not look like is found; it is made here, with triggers disabled."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from eventstore import CallerRuntime, Config, EventData, EventStore, Projection, SnapshotData
from tests.support.cli import Shell
from tests.support.unprotected import unprotected
from tests.support.waiting import PATIENCE

AN_EVENT = "'2026-01-01', NULL, gen_random_uuid(), NULL, NULL, 'json', 'T', '1', NULL"
SAME_ID = """
    UPDATE events e SET event_id = o.event_id FROM events o
     WHERE (e.global_position, o.global_position) = (5, 2)
"""


def link(*rows: tuple[int, int, int]) -> str:
    """Return the statement that links: number of a stream, version in it, position."""
    values = ", ".join(map(str, rows))
    return f"INSERT INTO links (stream_no, stream_version, global_position) VALUES {values}"


def bury(*ranges: tuple[int, int]) -> list[str]:
    """Return the statements that record positions from the first to the last as deleted."""
    values = ", ".join(str((last, first, 1)) for first, last in ranges)
    return [
        "INSERT INTO deletions VALUES (1, 99, 'gone', now(), now())",
        f"INSERT INTO tombstones VALUES {values}",
    ]


SEQUENCES = (
    "streams_stream_no_seq",
    "subscriptions_subscription_id_seq",
    "positions_position_id_seq",
)


@pytest.fixture
def shell(dsn: str, schema: str) -> Shell:
    return Shell(dsn, schema)


@pytest.fixture
def store(dsn: str, schema: str) -> Iterator[EventStore]:
    """Two streams, a and b, that take turns: a has the odd positions of 1 to 8, b the even ones."""
    config = Config(dsn, schema=schema)
    with EventStore.connect(config, runtime=CallerRuntime, init=True) as store:
        for version in range(4):
            for stream in ("a", "b"):
                store.append_to_stream(stream, version, [EventData("T", version)])
        yield store


@pytest.fixture
def subscribed(dsn: str, schema: str, store: EventStore) -> None:
    """Two that acknowledged everything, one to a stream to come, one from the newest position."""
    newest = store.read_all_streams_forward()[-2:]
    with EventStore.connect(Config(dsn, schema=schema)) as service:
        handles = [
            service.subscribe_to_all_streams("all", lambda events: None),
            service.subscribe_to_stream("a", "one", lambda events: None),
        ]
        service.subscribe_to_stream("later", "early", lambda events: None)
        service.subscribe_to_all_streams("future", lambda events: None, start_from=8)
        for handle, event in zip(handles, reversed(newest), strict=True):
            handle.wait_for(event, timeout=PATIENCE)


def damage(dsn: str, schema: str, *statements: str) -> None:
    """Do what the triggers, and nobody else, would have refused."""
    with psycopg.connect(dsn) as connection, unprotected(connection, schema):
        connection.execute(
            sql.SQL("SET search_path = {}").format(sql.Identifier(schema)),
        )
        for statement in statements:
            connection.execute(statement.encode())


def found(shell: Shell) -> list[dict[str, object]]:
    return [json.loads(line) for line in shell.found("verify", "--json")]


def brief(shell: Shell) -> list[tuple[object, ...]]:
    return [(f["problem"], f["stream_id"], f["first"], f["last"]) for f in found(shell)]


@pytest.mark.usefixtures("subscribed")
def test_a_sound_store_is_one_line_and_exit_code_0(shell: Shell) -> None:
    assert shell.run("verify") == "no problem in 8 events, 2 streams, 4 subscriptions\n"
    [summary] = shell.json("verify")
    assert summary == {"problems": 0, "events": 8, "streams": 2, "subscriptions": 4}


def test_an_empty_store_is_sound(dsn: str, schema: str, shell: Shell) -> None:
    EventStore.connect(Config(dsn, schema=schema), runtime=CallerRuntime, init=True).close()
    assert shell.run("verify") == "no problem in 0 events, 0 streams, 0 subscriptions\n"


def test_links_count_in_the_stream_they_are_in(
    dsn: str, schema: str, store: EventStore, shell: Shell
) -> None:
    """G3."""
    damage(dsn, schema, link((1, 5, 8), (1, 6, 2)))
    assert "no problem" in shell.run("verify")


def test_recorded_deletes_are_no_holes(
    dsn: str, schema: str, store: EventStore, shell: Shell
) -> None:
    """G3: also at the end, where a deleted position is never given out again."""
    damage(
        dsn,
        schema,
        "DELETE FROM events WHERE stream_no = 2 OR global_position = 7",
        *bury((2, 2), (4, 4), (6, 8)),
    )
    assert "no problem" in shell.run("verify")


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        pytest.param(
            ["DELETE FROM events WHERE global_position IN (7, 8)"],
            [],
            id="a tail that is gone leaves no trace",
        ),
        pytest.param(
            ["DELETE FROM events WHERE global_position <= 3"],
            [
                ("positions_missing", "$all", 1, 3),
                ("versions_missing", "a", 1, 2),
                ("versions_missing", "b", 1, 1),
            ],
            id="events are missing",
        ),
        pytest.param(
            [
                "DELETE FROM events WHERE global_position > 4",
                *bury((7, 8)),
            ],
            [("positions_missing", "$all", 5, 6)],
            id="events before a recorded delete are missing",
        ),
        pytest.param(
            bury((7, 9)),
            [("positions_repeated", "$all", 7, 7), ("positions_repeated", "$all", 8, 8)],
            id="deleted events are there",
        ),
        pytest.param(
            [
                "ALTER TABLE links DROP CONSTRAINT links_global_position_fkey",
                "ALTER TABLE events DROP CONSTRAINT events_pkey",
                f"INSERT INTO events VALUES (8, 1, 5, {AN_EVENT})",
            ],
            [("positions_repeated", "$all", 8, 8)],
            id="two events at one position",
        ),
        pytest.param(
            ["UPDATE events SET stream_version = 7 WHERE global_position = 7"],
            [("versions_missing", "a", 4, 6)],
            id="a stream has a hole",
        ),
        pytest.param(
            [link((1, 4, 2))],
            [("versions_repeated", "a", 4, 4)],
            id="an event and a link at one version",
        ),
        pytest.param(
            [
                "UPDATE events SET stream_version = 10 WHERE global_position = 3",
                "UPDATE events SET stream_version = 2 WHERE global_position = 5",
                "UPDATE events SET stream_version = 3 WHERE global_position = 3",
            ],
            [("order_disagrees", "a", 3, 3)],
            id="two events of a stream changed places",
        ),
        pytest.param(
            ["DELETE FROM streams WHERE stream_id = 'b'"],
            [("stream_missing", "stream number 2", p, p) for p in (2, 4, 6, 8)],
            id="a stream is missing",
        ),
        pytest.param(
            [link((2, 5, 9))],
            [("event_missing", "b", 5, 5)],
            id="a link to nothing",
        ),
        pytest.param(
            [
                "ALTER TABLE events DROP CONSTRAINT events_event_id_key",
                SAME_ID,
            ],
            [("event_id_repeated", "$all", 2, 5)],
            id="an id is there twice",
        ),
    ],
)
def test_every_kind_of_damage_is_found(
    dsn: str,
    schema: str,
    store: EventStore,
    shell: Shell,
    statements: list[str],
    expected: list[tuple[object, ...]],
) -> None:
    """G3."""
    damage(dsn, schema, *statements)
    if expected:
        assert sorted(brief(shell), key=str) == sorted(expected, key=str)
    else:
        assert "no problem" in shell.run("verify")


@pytest.mark.usefixtures("subscribed")
def test_checkpoints_beyond_what_is_subscribed_are_found(
    dsn: str, schema: str, shell: Shell
) -> None:
    """G15."""
    damage(dsn, schema, "UPDATE positions SET checkpoint = checkpoint + 1")
    places = [(f["subscription_name"], f["stream_id"], f["first"], f["last"]) for f in found(shell)]
    assert places == [
        ("all", "$all", 9, 8),
        ("future", "$all", 9, 8),
        ("one", "a", 5, 4),
        ("early", "later", 1, 0),
    ]


@pytest.mark.usefixtures("subscribed")
def test_parked_events_that_cannot_be_are_found(dsn: str, schema: str, shell: Shell) -> None:
    """G38: that do not exist, and beyond the checkpoint."""
    damage(
        dsn,
        schema,
        "UPDATE positions SET checkpoint = 7",
        "INSERT INTO parked SELECT subscription_id, 'a', n, n, 'no stock', NULL, 0, now()"
        " FROM subscriptions, unnest(ARRAY[7, 8, 9]) n WHERE subscription_name = 'all'",
    )
    lines = [line for line in shell.found("verify") if "parked" in line]
    assert lines == [
        "$all: the event parked at 9 does not exist, in subscription all",
        "$all: the event parked at 8 is beyond the checkpoint 7, in subscription all",
        "$all: the event parked at 9 is beyond the checkpoint 7, in subscription all",
    ]


def test_snapshots_of_nothing_are_found(
    dsn: str, schema: str, store: EventStore, shell: Shell
) -> None:
    """G3: of a stream that does not exist, and beyond the version of one that does."""
    for version, snapshot_type in ((4, "Sum"), (3, "Mean")):
        store.record_snapshot("a", version, SnapshotData(snapshot_type, 1))
    assert "no problem" in shell.run("verify")
    damage(
        dsn,
        schema,
        "UPDATE snapshots SET stream_version = 5 WHERE snapshot_type = 'Sum'",
        "INSERT INTO snapshots VALUES (7, 'Sum', 2, now(), 'json', 'unreadable', NULL)",
    )
    assert brief(shell) == [
        ("snapshot_stream_missing", "stream number 7", 2, 2),
        ("snapshot_ahead", "a", 5, 4),
    ]
    assert [finding["snapshot_type"] for finding in found(shell)] == ["Sum", "Sum"]
    assert shell.found("verify") == [
        "stream number 7: does not exist, but snapshot Sum of version 2 is of it",
        "a: snapshot Sum of version 5 is beyond the version 4 of the stream",
    ]


def test_projections_without_a_subscription_are_found(
    store: EventStore, dsn: str, schema: str, shell: Shell
) -> None:
    """G39: it was deleted by hand."""
    with EventStore.connect(Config(dsn, schema=schema)) as running:
        running.project(Projection("sums", 2, lambda _events, _connection: None))
    with psycopg.connect(dsn) as connection:
        delete = sql.SQL("DELETE FROM {} WHERE subscription_name = 'sums@2'")
        connection.execute(delete.format(sql.Identifier(schema, "subscriptions")))

    assert brief(shell) == [("projection_subscription_missing", "$all", 2, 2)]
    [line] = shell.found("verify")
    assert "nobody knows which events are in the tables of a projection" in line
    assert line.endswith("rebuild it or drop it, in subscription sums@2")


@pytest.mark.usefixtures("subscribed")
def test_sequences_that_are_behind_are_found_with_the_remedy(
    dsn: str, schema: str, shell: Shell
) -> None:
    """F42, G29: logical replication and a restore of the tables alone leave them so."""
    sequences = [f"{schema}.{name}" for name in SEQUENCES]
    damage(dsn, schema, *(f"SELECT setval('{name}', 1)" for name in sequences))
    lines = shell.found("verify")
    assert [line.partition("; run: ")[0] for line in lines] == [
        f"{name}: gives 2 next, but numbers up to {newest} are in use"
        for name, newest in zip(sequences, (2, 4, 4), strict=True)
    ]
    machine = [(f["problem"], f["sequence"], f["first"], f["last"]) for f in found(shell)]
    assert machine == [
        ("sequence_behind", name, 2, newest)
        for name, newest in zip(sequences, (2, 4, 4), strict=True)
    ]
    damage(dsn, schema, *(line.partition("; run: ")[2] for line in lines))
    assert "no problem" in shell.run("verify")


@pytest.mark.usefixtures("subscribed")
def test_every_kind_of_damage_is_said_in_one_line(dsn: str, schema: str, shell: Shell) -> None:
    damage(
        dsn,
        schema,
        "ALTER TABLE events DROP CONSTRAINT events_event_id_key",
        SAME_ID,
        link((1, 4, 2), (1, 7, 12)),
        "UPDATE events SET stream_version = 10 - stream_version WHERE stream_no = 2",
        f"INSERT INTO events VALUES (11, 7, 1, {AN_EVENT})",
        *bury((8, 8)),
        "UPDATE positions p SET checkpoint = 12 FROM subscriptions s"
        " WHERE s.subscription_id = p.subscription_id AND s.subscription_name = 'all'",
    )
    lines = [re.sub("[0-9a-f-]{36}", "ID", line) for line in shell.found("verify")]
    assert lines == [
        "$all: no event at position 9 to 10, and no delete was recorded",
        "$all: position 8 is there more than once",
        "a: no event at version 5 to 6",
        "b: no event at version 1 to 5",
        "a: version 4 is there more than once",
        "b: the event at version 7 has a position before its predecessor's",
        "b: the event at version 8 has a position before its predecessor's",
        "b: the event at version 9 has a position before its predecessor's",
        "stream number 7: does not exist, but the event at position 11 is in it",
        "a: the link at version 7 is to an event that does not exist",
        "$all: the events at positions 2 and 5 have the same id ID",
        "$all: checkpoint 12 is beyond the head 11, in subscription all",
    ]


def test_a_schema_without_a_store_is_exit_code_4(shell: Shell) -> None:
    shell.refused("verify", code=4)
