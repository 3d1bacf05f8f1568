from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore.storages.postgres.admin.database import database_name
from tests.support.cli import Shell


@pytest.fixture
def shell(dsn: str, schema: str) -> Shell:
    return Shell(dsn, schema)


@pytest.fixture
def new_database(dsn: str) -> Iterator[str]:
    """The connection string of a database that does not exist yet."""
    name = f'shop "{uuid4().hex[:8]}"'
    yield make_conninfo(dsn, dbname=name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


def version_row(dsn: str, schema: str, version: int, compatible_with: int) -> None:
    """Pretend that another version of the code changed the schema."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        table = sql.Identifier(schema, "schema_version")
        connection.execute(sql.SQL("DELETE FROM {}").format(table))
        connection.execute(
            sql.SQL("INSERT INTO {} VALUES (%s, %s)").format(table), [version, compatible_with]
        )


def test_from_nothing_to_a_store_and_back(new_database: str) -> None:
    """DBS-01, DBS-02, DBS-03, DBS-04, MIG-04."""
    shell = Shell(new_database)
    assert shell.refused("status", code=3).endswith("run: eventstore create")
    assert "created" in shell.run("create")
    assert "exists already" in shell.run("create")
    shell.refused("status", code=4)
    assert "installed" in shell.run("init")
    assert "is there already" in shell.run("init")
    assert "up to date" in shell.run("migrate")
    shell.run("append", "s", "T", "1")
    assert shell.json("status")[0]["head"] == 1
    assert "dropped" in shell.run("drop", "--yes")
    shell.refused("read", "s", code=4)
    assert "no store" in shell.run("drop", "--yes")
    assert "dropped" in shell.run("drop", "--yes", "--database")
    assert "no database" in shell.run("drop", "--yes", "--database")
    shell.refused("status", code=3)


def test_machines_are_told_what_was_done(new_database: str) -> None:
    shell = Shell(new_database)
    done = [
        shell.json(*command)[0]["done"]
        for command in (
            ["create"],
            ["create"],
            ["init"],
            ["init"],
            ["migrate"],
            ["drop", "--yes"],
            ["drop", "--yes"],
            ["drop", "--yes", "--database"],
            ["drop", "--yes", "--database"],
        )
    ]
    assert done == [
        "created",
        "exists",
        "installed",
        "exists",
        "current",
        "dropped",
        "missing",
        "dropped",
        "missing",
    ]


def test_a_new_database_is_in_utf8(new_database: str) -> None:
    Shell(new_database).run("create")
    with psycopg.connect(new_database) as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)


@pytest.mark.parametrize(
    "command",
    [["status"], ["streams"], ["read", "s"], ["append", "s", "T", "1"], ["import", "-"], ["tail"]],
)
def test_a_store_that_is_not_installed_is_exit_code_4_and_names_the_command(
    shell: Shell, command: list[str]
) -> None:
    assert "eventstore init" in shell.refused(*command, code=4)


def test_a_schema_that_is_too_new_is_exit_code_4_for_every_command(
    shell: Shell, dsn: str, schema: str
) -> None:
    shell.run("init")
    version_row(dsn, schema, 1_000, 1_000)
    for command in ("status", "init", "migrate"):
        assert "1000" in shell.refused(command, code=4)


def test_a_schema_that_is_too_new_can_be_dropped(shell: Shell, dsn: str, schema: str) -> None:
    shell.run("init")
    version_row(dsn, schema, 1_000, 1_000)
    shell.run("drop", "--yes")
    assert "eventstore init" in shell.refused("status", code=4)


def test_migrating_what_is_not_installed_is_exit_code_4(shell: Shell) -> None:
    assert "eventstore init" in shell.refused("migrate", code=4)


def test_drop_is_refused_where_nobody_can_answer(shell: Shell) -> None:
    shell.run("init")
    assert "--yes" in shell.refused("drop", stdin="y\n", code=2)
    assert "--yes" in shell.refused("drop", "--database", stdin="y\n", code=2)
    shell.run("status")


def test_drop_leaves_a_schema_alone_that_holds_no_store(dsn: str, schema: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        table = sql.Identifier(schema, "orders")
        connection.execute(sql.SQL("CREATE TABLE {} ()").format(table))
        assert "no store" in Shell(dsn, schema).run("drop", "--yes")
        connection.execute(sql.SQL("SELECT FROM {}").format(table))


def test_a_database_in_use_is_not_dropped(new_database: str) -> None:
    shell = Shell(new_database)
    shell.run("create")
    with psycopg.connect(new_database):
        assert "connected" in shell.refused("drop", "--database", "--yes", code=1)
    shell.run("drop", "--database", "--yes")


def test_options_may_stand_before_and_after_the_command(dsn: str, schema: str) -> None:
    shell = Shell()
    before, after = ["--dsn", dsn], ["--schema", schema, "--json"]
    shell.run(*before, "init", *after)
    shell.run(*after, *before, "append", "s", "T", "1")
    assert shell.run(*before, *after, "read", "s") == shell.run("read", "s", *after, *before)
    assert shell.run(*before, *after, "subscriptions", "list") == ""
    assert shell.run("subscriptions", *before, "list", *after) == ""


def test_options_win_over_the_environment(dsn: str, schema: str) -> None:
    shell = Shell("host=127.0.0.1 port=1", "elsewhere")
    shell.run("init", "--dsn", dsn, "--schema", schema)
    shell.run("status", "--dsn", dsn, "--schema", schema)


def test_an_embedded_store_needs_no_server(tmp_path: Path) -> None:
    """Each command starts the server, or attaches to it, and stops it if it was the last."""
    shell = Shell(f"embedded:{tmp_path / 'shop'}")
    assert "is there" in shell.run("create")
    shell.run("init")
    shell.run("append", "s", "T", "1")
    assert [event["data"] for event in shell.json("read", "$all")] == [1]
    assert shell.json("status")[0]["head"] == 1
    assert "folder" in shell.refused("drop", "--yes", "--database", code=2)
    shell.run("drop", "--yes")
    shell.refused("status", code=4)
    shell.run("init")
    assert shell.json("status")[0]["head"] == 0


@pytest.mark.parametrize(
    ("dsn", "name"),
    [
        ("dbname=shop user=ann", "shop"),
        ("postgresql://ann@localhost/my%20shop", "my shop"),
        ("user=ann", "from_environment"),
        ("service=prod dbname=shop", "shop"),
    ],
)
def test_the_database_is_the_one_that_libpq_would_take(
    dsn: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATABASE", "from_environment")
    assert database_name(dsn) == name


def test_without_a_database_it_is_the_one_named_like_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PGDATABASE", raising=False)
    monkeypatch.setenv("PGUSER", "bob")
    assert database_name("user=ann") == "ann"
    assert database_name("host=localhost") == "bob"


def test_the_database_of_a_service_file_must_be_named() -> None:
    with pytest.raises(ValueError, match="service file"):
        database_name("service=prod")
