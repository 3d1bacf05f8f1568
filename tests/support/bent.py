"""Settings of PostgreSQL that somebody made: in the connection string, for a role, and so on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.append_session import PostgresAppendSession
from eventstore.storages.postgres.subscription_rows import PostgresKeeperSession
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User

__all__ = [
    "WAYS",
    "As",
    "Bend",
    "in_the_dsn",
    "of_the_database",
    "of_the_role",
    "of_the_session",
    "set_in_sessions",
]


class As(Protocol):
    """Uses the store in sessions that have a setting."""

    def __call__(self, name: str, value: str, *, unsafe: bool = False) -> User: ...


Bend = Callable[[str, str, str], str]


def in_the_dsn(dsn: str, name: str, value: str) -> str:
    return make_conninfo(dsn, options=f"-c {name}={value}")


def of_the_role(dsn: str, name: str, value: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as admin:
        role = admin.info.user
        alter = sql.SQL("ALTER ROLE {} SET {} = {}")
        admin.execute(alter.format(sql.Identifier(role), sql.Identifier(name), value))
    return dsn


def of_the_database(dsn: str, name: str, value: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as admin:
        database = admin.info.dbname
        alter = sql.SQL("ALTER DATABASE {} SET {} = {}")
        admin.execute(alter.format(sql.Identifier(database), sql.Identifier(name), value))
    return dsn


def of_the_session(dsn: str, name: str, value: str) -> str:
    """Leave the connection string: somebody sets the session, as through a pooler."""
    return dsn


WAYS = pytest.mark.parametrize(
    "bend", [in_the_dsn, of_the_role, of_the_database, of_the_session], ids=lambda f: f.__name__
)


def set_in_sessions(user: User, statement: str) -> None:
    """Run a statement in the sessions of *user*, below the driver and the library."""
    user.store("warm")
    assert isinstance(user.appender, PostgresAppendSession)
    assert isinstance(user.keeper, PostgresKeeperSession)
    for session in (user.appender, user.keeper):
        session._connection.run_once(lambda c: c.raw.pgconn.exec_(statement.encode()), soon())
    assert isinstance(user.storage, PostgresStorage)
    user.storage._pool.run_once(lambda c: c.raw.pgconn.exec_(statement.encode()), soon())
