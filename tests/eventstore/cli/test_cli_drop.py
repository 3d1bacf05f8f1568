"""Dropping a store takes what is its own, and nothing else that lives in the schema."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.support.cli import Shell
from tests.support.plain_sql import Sql

THEIRS = """
    CREATE TABLE {}.orders (id serial PRIMARY KEY, note text);
    CREATE VIEW {}.notes AS SELECT note FROM {}.orders;
    CREATE TYPE {}.mood AS ENUM ('good', 'bad');
    CREATE SEQUENCE {}.invoice_numbers;
    CREATE FUNCTION {}.store_head(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
    INSERT INTO {}.orders (note) VALUES ('paid')
"""
LEFT = ["mood", "invoice_numbers", "notes", "store_head(integer)", "orders", "orders_id_seq"]
OURS = """
    SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass
       AND refobjid = '{}'::regnamespace
"""


@pytest.fixture
def shell(dsn: str, schema: str) -> Shell:
    return Shell(dsn, schema)


@pytest.fixture
def application(dsn: str, schema: str) -> Iterator[Sql]:
    """The service whose schema it is."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        service = Sql(connection, schema)
        service("CREATE SCHEMA {}")
        yield service


def exists(application: Sql) -> bool:
    return application("SELECT to_regnamespace('{}') IS NOT NULL") == [(True,)]


def test_what_belongs_to_an_application_stays_and_is_listed(
    shell: Shell, application: Sql, schema: str
) -> None:
    """F40: tables, views, types, sequences, and a function that is called like one of ours."""
    application(THEIRS)
    contents = application(OURS)
    shell.run("init")
    shell.run("append", "s", "T", "1")

    told = shell.run("drop", "--yes")

    assert "the schema stays" in told
    assert [name for name in LEFT if f"{schema}.{name}" not in told] == []
    assert "events" not in told
    assert application("SELECT note, {}.store_head(1) FROM {}.notes") == [("paid", 1)]
    assert application(OURS) == contents
    shell.run("init")
    (done,) = shell.json("drop", "--yes")
    assert (done["done"], len(done["others"])) == ("dropped", len(LEFT))


def test_the_schema_goes_with_the_store_if_nothing_else_is_in_it(
    shell: Shell, application: Sql
) -> None:
    """F40: also one that was there before."""
    shell.run("init")
    assert "stays" not in shell.run("drop", "--yes")
    assert not exists(application)


def test_a_schema_of_somebody_else_stays(
    dsn: str, schema: str, shell: Shell, application: Sql
) -> None:
    """F40: an administrator made it, and lets the role use it."""
    role = f"{schema}_role"
    application(f"CREATE ROLE {role} LOGIN")
    try:
        application(f"GRANT ALL ON SCHEMA {{}} TO {role}")
        own = Shell(make_conninfo(dsn, user=role), schema)
        own.run("init")
        assert "dropped" in own.run("drop", "--yes")
        assert exists(application)
        assert application(OURS) == [(0,)]
    finally:
        application(f"DROP OWNED BY {role} CASCADE")
        application(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("dependent", "named"),
    [
        ("CREATE VIEW {}_app.report AS SELECT count(*) FROM {}.events", "report"),
        ("CREATE TABLE {}_app.bills (at bigint REFERENCES {}.events)", "bills"),
        ("CREATE TABLE {}_app.rows (was {}.streams)", "rows"),
        ("CREATE VIEW {}_app.heads AS SELECT {}.store_head() AS head", "heads"),
    ],
)
def test_what_others_made_of_the_store_is_not_dropped_with_it(
    shell: Shell, application: Sql, schema: str, dependent: str, named: str
) -> None:
    """F40: it is named, and nothing is dropped."""
    shell.run("init")
    shell.run("append", "s", "T", "1")
    name = f"{schema}_app"
    application(f"CREATE SCHEMA {name}")
    try:
        application(dependent.replace("{}_app", name))
        refused = shell.refused("drop", "--yes", code=1)
        assert f"{name}.{named} depends on" in refused
        assert "drop these first" in refused
        assert shell.json("status")[0]["head"] == 1
        assert "no problem" in shell.run("verify")
    finally:
        application("SET client_min_messages = warning")
        application(f"DROP SCHEMA {name} CASCADE")
    assert "dropped" in shell.run("drop", "--yes")


def test_a_store_that_was_renamed_can_be_dropped(
    dsn: str, schema: str, shell: Shell, application: Sql
) -> None:
    """F40, F33: by the name that it has now."""
    shell.run("init")
    name = f"{schema}_old"
    application(f"ALTER SCHEMA {{}} RENAME TO {name}")
    assert "dropped" in Shell(dsn, name).run("drop", "--yes")
    assert application("SELECT to_regnamespace(%s) IS NULL", name) == [(True,)]
