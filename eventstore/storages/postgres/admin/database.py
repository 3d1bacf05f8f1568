"""Creates and drops the database of a connection string, connected to another database."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.storages.postgres.connecting.connect_attempt import Attempt, Attempts
from eventstore.storages.postgres.connecting.connector import complete_dsn, parsed
from eventstore.storages.postgres.connecting.servers import options
from eventstore.storages.postgres.connecting.sqlstates import at_once, refused

__all__ = ["create_database", "database_name", "drop_database"]

_MAINTENANCE = ("postgres", "template1")
"""Databases that every server has."""

_NOT_THIS_ONE = {"3D000", "42501", "55000"}
"""Codes of a database that is missing, or takes no connections or not ours."""


def database_name(dsn: str) -> str:
    """Return the database that libpq would connect to.

    Raises:
        ValueError: *dsn* is no connection string, or no service file has its service.
    """
    given = parsed(dsn)
    name = given.get("dbname") or options(dsn).get("dbname")
    if name is None:
        raise ValueError("dsn must name the database: no service file has its service")
    return str(name)


def create_database(dsn: str, timeout: float) -> bool:
    """Create the database of *dsn*, in UTF-8. Return False if it exists.

    Raises:
        StorageUnavailableError: The server cannot be reached within *timeout* seconds.
        StorageError: The server refuses, for instance because a right is missing.
    """
    name = database_name(dsn)
    with _neighbour(dsn, timeout) as connection, _explained(f"creating database {name!r} failed"):
        if _exists(connection, name):
            return False
        # template0 allows any encoding, and has no additions of template1.
        create = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0")
        try:
            connection.execute(create.format(sql.Identifier(name)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return False
    return True


def drop_database(dsn: str, timeout: float) -> bool:
    """Drop the database of *dsn* with everything in it. Return False if it does not exist.

    Raises:
        StorageUnavailableError: The server cannot be reached within *timeout* seconds.
        StorageError: The server refuses, for instance because a session is connected to it.
    """
    name = database_name(dsn)
    with _neighbour(dsn, timeout) as connection, _explained(f"dropping database {name!r} failed"):
        if not _exists(connection, name):
            return False
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
    return True


def _exists(connection: psycopg.Connection[Any], name: str) -> bool:
    found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name])
    return found.rowcount > 0


def _neighbour(dsn: str, timeout: float) -> psycopg.Connection[Any]:
    """Connect to the first maintenance database that is there and accepts us."""
    attempts, deadline = Attempts(), time.monotonic() + timeout
    *others, last = _MAINTENANCE
    for name in others:
        try:
            return _connected(dsn, name, attempts, deadline)
        except StorageError as error:
            if getattr(error.__cause__, "sqlstate", None) not in _NOT_THIS_ONE:
                raise
    return _connected(dsn, last, attempts, deadline)


def _connected(dsn: str, name: str, attempts: Attempts, deadline: float) -> psycopg.Connection[Any]:
    conninfo = make_conninfo(complete_dsn(dsn), dbname=name)
    attempt = Attempt(psycopg.Connection[Any], conninfo, deadline, attempts)
    attempt.start()
    try:
        return attempt.result()
    except StorageUnavailableError as error:
        raise at_once(error) from error.__cause__


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        if isinstance(error, psycopg.errors.ObjectInUse):
            raise StorageError(f"{doing}: somebody is connected to it") from error
        raise refused(error, doing) from error
