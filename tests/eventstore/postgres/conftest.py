"""A store in PostgreSQL, seen from both sides: through the port, and with plain SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore.model.config import Config
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.announce_session import OwnSessions
from eventstore.storages.postgres.head_listener import PostgresHeadListener
from eventstore.storages.postgres.statements import Statements
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.support.bent import As, Bend, of_the_session, set_in_sessions


class Psql:
    """Somebody with plain SQL, outside of the store; ``{}`` in a statement is its schema."""

    def __init__(self, connection: psycopg.Connection[Any], schema: str) -> None:
        self.connection = connection
        self.schema = schema

    def __call__(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        name = sql.Identifier(self.schema).as_string(None)
        text = statement.replace("{}", name).encode()
        cursor = self.connection.execute(text, parameters or None)
        return cursor.fetchall() if cursor.description is not None else []


def listener_with(statements: Statements, storage: PostgresStorage) -> PostgresHeadListener:
    """Return a listener of *storage* that runs *statements*; the test closes it."""
    return PostgresHeadListener(
        statements,
        OwnSessions(),
        connector=storage._connector.sibling(),
        listen_connector=None,
        pool=storage._family.pool,
        readers=storage._readers,
        connect_timeout=storage._config.connect_timeout,
    )


@pytest.fixture
def config(dsn: str, schema: str) -> Config:
    return Config(dsn, schema=schema, pool_size=4)


@pytest.fixture
def open_storage(config: Config) -> Iterator[Callable[[], PostgresStorage]]:
    """Open the same store once more, as another process would."""
    with ExitStack() as closing:

        def open_another() -> PostgresStorage:
            storage = PostgresStorage(config)
            closing.callback(storage.close)
            storage.open(init=True, deadline=soon())
            return storage

        yield open_another


@pytest.fixture
def storage(open_storage: Callable[[], PostgresStorage]) -> PostgresStorage:
    return open_storage()


@pytest.fixture
def user(storage: PostgresStorage) -> Iterator[User]:
    user = User(storage)
    yield user
    user.close()


@pytest.fixture
def other(open_storage: Callable[[], PostgresStorage]) -> Iterator[User]:
    """Somebody else who uses the same store."""
    user = User(open_storage())
    yield user
    user.close()


@pytest.fixture
def psql(dsn: str, schema: str) -> Iterator[Psql]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield Psql(connection, schema)


@pytest.fixture
def bent(storage: PostgresStorage, config: Config, bend: Bend) -> Iterator[As]:
    """Use the store with a setting that was made in one way; it is taken back afterwards."""
    role = f"r_{uuid4().hex[:12]}"
    with psycopg.connect(config.dsn, autocommit=True) as admin, ExitStack() as closing:
        database = sql.Identifier(admin.info.dbname)
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(sql.Identifier(role)))
        closing.callback(admin.execute, sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        closing.callback(admin.execute, sql.SQL("ALTER DATABASE {} RESET ALL").format(database))

        def use(name: str, value: str, *, unsafe: bool = False) -> User:
            dsn = bend(make_conninfo(config.dsn, user=role), name, value)
            storage = PostgresStorage(replace(config, dsn=dsn, allow_unsafe_durability=unsafe))
            closing.callback(storage.close)
            storage.open(init=False, deadline=soon())
            user = User(storage)
            closing.callback(user.close)
            if bend is of_the_session:
                set_in_sessions(user, f"SET {name} = '{value}'")
            return user

        yield use
