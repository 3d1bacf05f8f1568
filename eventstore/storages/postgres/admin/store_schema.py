"""Installs, migrates, checks and drops a store's schema.

`schema.sql` is always the whole newest schema. Each change is also a file
``migrations/NNNN_what.sql``, which turns version NNNN - 1 into NNNN and ends with its row for
``schema_version``. A test proves that both ways lead to the same schema. A function whose meaning
changes gets a new name, so that old and new code run side by side.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from eventstore.model.errors import SchemaVersionError, StorageError
from eventstore.storages.postgres.admin.store_removal import Dropped, drop_objects
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.sqlstates import refused
from eventstore.storages.postgres.statements import NO_SEARCH_PATH

__all__ = ["SchemaScripts", "SchemaVersion", "StoreSchema"]


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """The installed version, and the oldest version of code that may use it."""

    version: int
    compatible_with: int


@dataclass(frozen=True, slots=True)
class SchemaScripts:
    """The newest schema, and the migrations to it from older ones."""

    newest: str
    migrations: tuple[tuple[int, str], ...]
    """Version and script, ascending; the first leads to version 2."""

    @classmethod
    def shipped(cls) -> SchemaScripts:
        """Return the scripts of this package."""
        here = Path(__file__).parent
        # Beside this file in a wheel, at the top of the source tree.
        newest = next(
            p for p in (here / "schema.sql", here.parents[3] / "schema.sql") if p.exists()
        )
        files = sorted((here / "migrations").glob("[0-9][0-9][0-9][0-9]_*.sql"))
        return cls(
            newest.read_text("utf-8"),
            tuple((int(file.name[:4]), file.read_text("utf-8")) for file in files),
        )

    @property
    def version(self) -> int:
        """The newest version."""
        return self.migrations[-1][0] if self.migrations else 1

    def after(self, version: int) -> Iterator[str]:
        """Yield the scripts from *version* to the newest. From 0 it is one script."""
        if version == 0:
            yield self.newest
        else:
            yield from (script for step, script in self.migrations if step > version)

    def all(self) -> list[str]:
        """Return every script that may have created something."""
        return [self.newest, *(script for _, script in self.migrations)]


SCRIPTS = SchemaScripts.shipped()

# The functions that use the same tables as home_schema().
_STRAY = """
    SELECT p.oid::regprocedure::text FROM pg_proc p
     WHERE p.pronamespace = to_regnamespace(%s) AND p.proconfig && (
       SELECT h.proconfig FROM pg_proc h
        WHERE h.pronamespace = p.pronamespace AND h.proname = 'home_schema')
"""


class StoreSchema:
    """The schema of one store in one database."""

    def __init__(self, name: str, scripts: SchemaScripts = SCRIPTS) -> None:
        self._name = name
        self._scripts = scripts

    def check(self, connection: GuardedConnection, deadline: float) -> None:
        """Raise `SchemaVersionError` unless this code can use the installed schema."""
        with (
            _explained("reading the schema version failed"),
            connection.transaction(deadline) as raw,
        ):
            raw.execute(NO_SEARCH_PATH)
            self._check_version(self._installed(raw))
            home = self._home(raw)
        if home != self._name:
            raise SchemaVersionError(
                f"schema {self._name!r} was renamed, and the functions of the event store use the"
                f" tables in schema {home!r}; run: eventstore migrate",
                found=self._scripts.version,
                expected=self._scripts.version,
            )

    def _check_version(self, found: SchemaVersion | None) -> None:
        expected = self._scripts.version
        if found is None:
            raise self._unusable(None, "is not installed", "eventstore init")
        if found.version < expected:
            problem = f"has version {found.version}, this code needs {expected}"
            raise self._unusable(found, problem, "eventstore migrate")
        if found.compatible_with > expected:
            problem = (
                f"has version {found.version} and needs code of {found.compatible_with} or newer,"
                f" this code knows {expected}"
            )
            raise self._unusable(found, problem, "pip install --upgrade eventstore")

    def update(self, connection: GuardedConnection, lock_timeout: float, deadline: float) -> int:
        """Install the schema or migrate it, each step in a transaction under a lock.

        Args:
            connection: The connection to use.
            lock_timeout: Longest wait for a lock, and so the longest time appends are held up.
            deadline: When all steps must be done.

        Returns:
            The number of steps; 0 if the schema was up to date.

        Raises:
            StorageUnavailableError: Another session holds a lock, for instance a migration.
        """
        steps = 0
        with _explained("installing or migrating the schema failed"):
            while self._step(connection, lock_timeout, deadline):
                steps += 1
        return steps

    def drop(
        self, connection: GuardedConnection, lock_timeout: float, deadline: float
    ) -> Dropped | None:
        """Drop the store with all events in it. None: there is no store.

        Raises:
            StorageError: Objects of others depend on the store. Nothing is dropped.
        """
        with _explained("dropping the store failed"), connection.transaction(deadline) as raw:
            self._lock(raw, lock_timeout)
            if self._installed(raw) is None:
                return None
            return drop_objects(raw, self._identifier, self._scripts.all())

    @property
    def _identifier(self) -> sql.Identifier:
        return sql.Identifier(self._name)

    def _step(self, connection: GuardedConnection, lock_timeout: float, deadline: float) -> bool:
        with connection.transaction(deadline) as raw:
            self._lock(raw, lock_timeout)
            found = self._installed(raw)
            before = found.version if found is not None else 0
            script = next(self._scripts.after(before), None)
            if script is None:
                return before == self._scripts.version and self._move_in(raw)
            raw.execute(self._rendered(script))
            now = self._installed(raw)
            if now is None or now.version <= before:
                raise StorageError(f"a migration of version {before} left no row of its own")
        return True

    def _lock(self, raw: psycopg.Connection[Any], timeout: float) -> None:
        """Take the lock for installing, migrating and dropping, until the transaction ends.

        It is an advisory lock, because before the first step there is no table to lock.
        """
        raw.execute(NO_SEARCH_PATH)
        raw.execute(
            "SELECT set_config('lock_timeout', %s, true)", [f"{max(1, int(1000 * timeout))}ms"]
        )
        raw.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"eventstore:{self._name}"]
        )

    def _installed(self, raw: psycopg.Connection[Any]) -> SchemaVersion | None:
        table = sql.Identifier(self._name, "schema_version")
        exists = raw.execute(
            "SELECT to_regclass(%s) IS NOT NULL", [table.as_string(raw)]
        ).fetchone()
        if exists != (True,):
            return None
        newest = sql.SQL(
            "SELECT version, compatible_with FROM {} ORDER BY version DESC LIMIT 1"
        ).format(table)
        row = raw.execute(newest).fetchone()
        return SchemaVersion(*row) if row is not None else None

    def _home(self, raw: psycopg.Connection[Any]) -> str | None:
        """Return the schema whose tables the functions use; None: it does not exist."""
        function = sql.Identifier(self._name, "home_schema")
        row = raw.execute(sql.SQL("SELECT {}()").format(function)).fetchone()
        return row and row[0]

    def _move_in(self, raw: psycopg.Connection[Any]) -> bool:
        """Let the functions use the tables of their own schema. Return whether any did not."""
        if self._home(raw) == self._name:
            return False
        strays = raw.execute(_STRAY, [self._identifier.as_string(raw)]).fetchall()
        for (function,) in strays:
            alter = sql.SQL("ALTER FUNCTION {} SET search_path = {}, pg_temp")
            raw.execute(alter.format(sql.SQL(function), self._identifier))
        return bool(strays)

    def _rendered(self, script: str) -> bytes:
        """Insert the schema's name, as psql does for its variable ``schema``."""
        name = self._identifier.as_string(None)
        text = sql.Literal(self._name).as_string(None)
        return script.replace(':"schema"', name).replace(":'schema'", text).encode()

    def _unusable(
        self, found: SchemaVersion | None, problem: str, command: str
    ) -> SchemaVersionError:
        return SchemaVersionError(
            f"the event store in schema {self._name!r} {problem}; run: {command}",
            found=found.version if found is not None else None,
            expected=self._scripts.version,
        )


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise refused(error, doing) from error
