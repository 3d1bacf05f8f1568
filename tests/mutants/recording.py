"""Mutants of snapshots: which one is kept, of which stream it is, and what is ignored."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import constant, remove, replace
from tests.mutants.places.python_place import function
from tests.mutants.places.sql_place import sql_function

__all__ = ["RECORDING"]

_COSTS = "tests/eventstore/postgres/test_snapshot_costs.py"
_FACADE = "tests/conformance/test_snapshots.py"
_TABLES = "tests/eventstore/postgres/test_snapshots_in_tables.py"

RECORDING = (
    Mutant(
        name="older-snapshot-replaces-a-newer-one",
        guarantee="G10",
        breaks="Whoever is slow puts a snapshot of long ago in the place of the newest.",
        where=sql_function("record_snapshot").statement("INSERT INTO snapshots").where(),
        change=constant(True),
        killers=(
            f"{_FACADE}::test_a_newer_one_replaces_an_older_one_and_never_the_other_way_round",
        ),
    ),
    Mutant(
        name="snapshot-beyond-its-stream",
        guarantee="G28",
        breaks="A snapshot holds events that do not exist yet, and hides those that come.",
        where=sql_function("record_snapshot")
        .condition(mentioning="p_stream_version")
        .conjunct(mentioning="head"),
        change=remove,
        killers=(f"{_FACADE}::test_a_version_that_the_stream_has_not_reached_is_refused",),
    ),
    Mutant(
        name="snapshot-of-another-incarnation",
        guarantee="G10",
        breaks="A stream that was created again is read with the snapshot of the one before.",
        where=function("SnapshotRows.read_from").condition(mentioning="_number"),
        change=constant(True),
        killers=(f"{_TABLES}::test_snapshot_and_events_are_never_those_of_two_incarnations",),
    ),
    Mutant(
        name="snapshot-of-a-deleted-stream",
        guarantee="G12",
        breaks="The snapshot of a deleted stream is None instead of an error that says so.",
        where=function("SnapshotRows._read").condition(mentioning="deleted_at"),
        change=constant(False),
        killers=(f"{_TABLES}::test_the_snapshot_of_a_deleted_stream_can_only_be_deleted",),
    ),
    Mutant(
        name="unreadable-snapshot-is-an-error",
        guarantee="G30",
        breaks="A new version of a class stops a service until every old snapshot is deleted.",
        where=function("Snapshots._usable").caught(),
        change=replace("KeyError"),
        killers=(f"{_FACADE}::test_a_snapshot_of_another_version_of_its_class_is_ignored",),
    ),
    Mutant(
        name="snapshot-in-vain",
        guarantee="G11",
        breaks="The whole stream is read though there is a snapshot.",
        where=function("SnapshotRows.read_from").assigned("start"),
        change=replace("1"),
        killers=(
            f"{_COSTS}::test_a_read_from_a_late_snapshot_on_costs_no_more_than_that_of_a_short_stream",
        ),
    ),
)
