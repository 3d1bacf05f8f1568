"""The commands for projections, beside a running service."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from eventstore import AsyncEventStore, Config, EventData, EventStore, ExpectedVersion
from tests.support.cli import Shell
from tests.support.own_projections import numbers, on_loop
from tests.support.terminal import COLUMNS, terminal
from tests.support.waiting import wait_until

CODE = "tests.support.own_projections"
LIST = ("projections", "list")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def shell(dsn: str, schema: str) -> Shell:
    shell = Shell(dsn, schema)
    shell.run("init")
    return shell


@pytest.fixture
def service(dsn: str, schema: str, shell: Shell) -> Iterator[EventStore]:
    """A service that has built two versions of a projection."""
    with EventStore.connect(Config(dsn, schema=schema, poll_interval=0.1)) as store:
        store.append_to_stream("order-1", 0, [EventData("T", number) for number in range(5)])
        for version in (1, 2):
            store.project(numbers(version, schema))
        wait_until(lambda: [info.position for info in store.projections()] == [5, 5])
        yield store


def tables(dsn: str, schema: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename LIKE 'numbers%%'"
            " ORDER BY 1",
            [schema],
        )
        return [name for (name,) in rows]


def test_versions_are_listed_with_their_progress(shell: Shell, service: EventStore) -> None:
    """G32: for people and for scripts."""
    first, second = shell.json(*LIST)
    assert (first["name"], first["version"], first["is_current"]) == ("numbers", 1, True)
    assert (second["position"], second["head"], second["lag_events"]) == (5, 5, 0)
    assert (second["rate"], second["switched_at"], second["last_error"]) == (None, None, None)
    titles, *rows = shell.run(*LIST).splitlines()
    assert titles.split() == ["projection", "current", "state", "position", "lag", "owner"]
    assert [row.split()[:5] for row in rows] == [
        ["numbers@1", "yes", "live", "5", "0"],
        ["numbers@2", "no", "live", "5", "0"],
    ]
    paced = shell.run(*LIST, "--over", "0.01").splitlines()
    assert paced[0].split()[5:7] == ["rate", "left"]
    assert paced[1].split()[5:7] == ["0/s", "-"]
    assert [info["rate"] for info in shell.json(*LIST, "--over", "0.01")] == [0.0, 0.0]


@pytest.mark.parametrize("more", [(), ("--over", "0.01")])
def test_the_list_fits_a_terminal(shell: Shell, service: EventStore, more: tuple[str, ...]) -> None:
    """F57: of 80 columns."""
    with terminal(shell, *LIST, *more) as screen:
        lines = COLOUR.sub("", screen.end()).splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert lines[0].split()[:3] == ["projection", "current", "state"]
    assert lines[1].startswith("numbers@1")


def test_no_projections_are_said_to_be_none(shell: Shell) -> None:
    assert shell.run(*LIST) == "no projections\n"
    assert shell.json(*LIST) == []


def test_a_version_is_switched_to_by_its_code(
    shell: Shell, service: EventStore, dsn: str, schema: str
) -> None:
    """G39: readers see it at once."""
    switch = ("projections", "switch", f"{CODE}:numbers_2")
    assert shell.run(*switch) == "switched to numbers@2\n"
    assert [info.is_current for info in service.projections()] == [False, True]
    assert shell.json(*switch) == [{"name": "numbers", "version": 2, "done": "switch"}]
    with psycopg.connect(dsn) as connection:
        view = sql.SQL("SELECT pg_get_viewdef({}::regclass)").format(f"{schema}.numbers")
        [row] = connection.execute(view)
    assert "numbers_2" in row[0]


def test_a_switch_to_what_is_behind_is_refused(shell: Shell, service: EventStore) -> None:
    """G39: unless it is forced."""
    service.pause_subscription("$all", "numbers@2")
    service.append_to_stream("order-1", ExpectedVersion.ANY, [EventData("T", 5)])
    switch = ("projections", "switch", f"{CODE}:numbers_2", "--timeout", "0.1")
    assert "has not caught up: it is at 5 of 6" in shell.refused(*switch, code=1)
    assert shell.run(*switch, "--force") == "switched to numbers@2\n"
    assert "paused" in shell.run(*LIST)


def test_a_version_is_rebuilt_by_its_code(shell: Shell, service: EventStore, schema: str) -> None:
    """G39: the service that runs it goes on from the start."""
    rebuild = ("projections", "rebuild", f"{CODE}:numbers_2")
    assert "asks first: use --yes" in shell.refused(*rebuild, code=2)
    assert shell.run(*rebuild, "--yes") == "rebuilding numbers@2\n"
    service.append_to_stream("order-1", ExpectedVersion.ANY, [EventData("T", 5)])
    wait_until(lambda: service.projections()[1].position == 6)
    current = ("projections", "rebuild", f"{CODE}:numbers_1", "--yes")
    assert "is the current one" in shell.refused(*current, code=1)
    with terminal(shell, *rebuild) as screen:
        screen.wait_for("Empty the tables of numbers@2 and begin again? [y/N]")
        screen.type("n\n")
        assert "nothing was done" in screen.end()


def test_a_version_is_dropped_with_its_tables_or_by_its_name(
    shell: Shell, service: EventStore, dsn: str, schema: str
) -> None:
    """G39."""
    by_name = ("projections", "drop", "numbers@2", "--yes")
    assert shell.run(*by_name) == "dropped numbers@2; its tables are left\n"
    assert tables(dsn, schema) == ["numbers_1", "numbers_2"]
    for unasked in (by_name, by_name[:-1], ("projections", "rebuild", f"{CODE}:numbers_2")):
        assert "projection 'numbers' has no version 2" in shell.refused(*unasked, code=1)
    with_code = ("projections", "drop", f"{CODE}:numbers_1", "--yes")
    assert "is the current one and has readers" in shell.refused(*with_code, code=1)
    assert shell.run(*with_code, "--force") == "dropped numbers@1\n"
    assert tables(dsn, schema) == ["numbers_2"]
    assert shell.json(*LIST) == []


def test_what_is_no_projection_is_refused(shell: Shell) -> None:
    switch = ("projections", "switch")
    assert "so it needs MODULE:ATTRIBUTE" in shell.refused(*switch, "numbers@2", code=2)
    for place, said in (
        ("numbers", "must be MODULE:ATTRIBUTE: 'numbers'"),
        ("no.such:thing", "there is no module 'no.such' in this folder or installed"),
        (f"{CODE}:missing", f"module '{CODE}' has no 'missing'"),
        (f"{CODE}:numbers", "must be a Projection, and is a function"),
        (f"{CODE}:numbers_1", "projection 'numbers' has no version 1"),
    ):
        code = 1 if "numbers_1" in place else 2
        assert said in shell.refused(*switch, place, code=code)


def test_a_version_without_its_subscription_is_pointed_out(
    shell: Shell, service: EventStore, dsn: str, schema: str
) -> None:
    """G39: its tables cannot be trusted. No command deletes it, so somebody did so by hand."""
    for command in (("delete", "numbers@2"), ("reset", "numbers@2", "--to", "0")):
        refused = shell.refused("subscriptions", *command, code=1)
        assert "belongs to a projection, whose tables change together with it" in refused
    with psycopg.connect(dsn) as connection:
        table = sql.Identifier(schema, "subscriptions")
        delete = sql.SQL("DELETE FROM {} WHERE subscription_name = 'numbers@2'")
        connection.execute(delete.format(table))
    *_, row, complaint = shell.run(*LIST).splitlines()
    assert row.split()[:5] == ["numbers@2", "no", "unknown", "0", "5"]
    assert complaint.startswith("numbers@2: its subscription was deleted")


def test_coroutine_functions_are_awaited(shell: Shell, dsn: str, schema: str) -> None:
    """G39, G42."""

    async def project() -> None:
        async with AsyncEventStore.connect(Config(dsn, schema=schema)) as store:
            await store.project(on_loop)

    asyncio.run(project())
    place = f"{CODE}:on_loop"
    assert shell.run("projections", "switch", place) == "switched to awaited@1\n"
    dropped = shell.run("projections", "drop", place, "--yes", "--force")
    assert dropped == "dropped awaited@1\n"
