"""Creates and drops the database of a connection string, connected to another database."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from eventstore.model.errors import StorageError
from eventstore.storages.postgres.connecting.sqlstates import translated

__all__ = ["create_database", "database_name", "drop_database", "is_missing"]

_MAINTENANCE = ("postgres", "template1")
"""Databases that every server has."""


def database_name(dsn: str) -> str:
    """Return the database that libpq would connect to.

    Raises:
        ValueError: *dsn* is no connection string, or only a service file has the name.
    """
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise ValueError(
            "dsn is no libpq connection string; it looks like postgresql://user@host/database"
            " or host=... dbname=..."
        ) from None
    if "service" in given and "dbname" not in given:
        raise ValueError("dsn must name the database: the one of a service file is not known")
    defaults = {o.keyword.decode(): os.fsdecode(o.val or b"") for o in pq.Conninfo.get_defaults()}
    name = given.get("dbname") or defaults["dbname"] or given.get("user") or defaults["user"]
    return str(name)


def create_database(dsn: str, timeout: float) -> bool:
    """Create the database of *dsn*, in UTF-8. Return False if it exists.

    Raises:
        StorageUnavailableError: The server cannot be reached within about *timeout* seconds.
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
        StorageUnavailableError: The server cannot be reached within about *timeout* seconds.
        StorageError: The server refuses, for instance because a session is connected to it.
    """
    name = database_name(dsn)
    with _neighbour(dsn, timeout) as connection, _explained(f"dropping database {name!r} failed"):
        if not _exists(connection, name):
            return False
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
    return True


def is_missing(dsn: str, timeout: float) -> bool:
    """Return whether the server lacks the database of *dsn*. False if it cannot be asked."""
    try:
        name = database_name(dsn)
        with _connected(dsn, timeout) as connection:
            return not _exists(connection, name)
    except (ValueError, psycopg.Error):
        return False


def _exists(connection: psycopg.Connection[Any], name: str) -> bool:
    found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name])
    return found.rowcount > 0


@contextlib.contextmanager
def _neighbour(dsn: str, timeout: float) -> Iterator[psycopg.Connection[Any]]:
    with _explained("cannot connect"), _connected(dsn, timeout) as connection:
        yield connection


def _connected(dsn: str, timeout: float) -> psycopg.Connection[Any]:
    """Connect to the first maintenance database that accepts us."""
    first_error: psycopg.Error | None = None
    for name in _MAINTENANCE:
        try:
            return psycopg.connect(
                make_conninfo(dsn, dbname=name, client_encoding="UTF8"),
                autocommit=True,
                connect_timeout=max(2, round(timeout)),
            )
        except psycopg.OperationalError as error:
            first_error = first_error or error
    assert first_error is not None, "there are maintenance databases"
    raise first_error


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        if isinstance(error, psycopg.errors.ObjectInUse):
            raise StorageError(f"{doing}: somebody is connected to it") from error
        raise translated(error, doing) from error
