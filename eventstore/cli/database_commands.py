"""Commands that create, install, migrate and drop the database of a store."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from eventstore import Config, SchemaVersionError
from eventstore.cli.command import Command
from eventstore.cli.consent import ask, check_can_ask
from eventstore.cli.failures import UsageError
from eventstore.cli.output import Output, printable
from eventstore.cli.store_options import is_embedded
from eventstore.client.targets import storage_for
from eventstore.model.dsn import masked
from eventstore.model.names import ALL_STREAMS

if TYPE_CHECKING:
    from eventstore.storages.postgres import PostgresStorage

__all__ = ["CREATE", "DROP", "INIT", "MIGRATE"]

_CHANGE_SECONDS = 3_600.0
"""Deadline of a migration in seconds; `migration_lock_timeout` bounds each wait for a lock."""


def _create(_options: Namespace, config: Config, out: Output) -> None:
    """Create the database; for ``embedded:``, the server, which comes with its database."""
    from eventstore.storages.postgres.admin.database import create_database, database_name

    if is_embedded(config):
        with _storage(config, create=True):
            _say(out, "exists", f"the server in {_place(config)} is there, with its database")
        return
    name = printable(database_name(config.dsn))
    if create_database(config.dsn, config.connect_timeout):
        _say(out, "created", f"database {name} created")
    else:
        _say(out, "exists", f"database {name} exists already")


def _init(_options: Namespace, config: Config, out: Output) -> None:
    """Install the store's schema.

    Raises:
        SchemaVersionError: A schema of another version is installed.
    """
    with _storage(config, create=True) as storage:
        if _version_problem(storage, config, missing_ok=True) is None:
            _say(out, "exists", f"the store in schema {_schema(config)} is there already")
        else:
            storage.open(init=True, deadline=_later(_CHANGE_SECONDS))
            _say(out, "installed", f"store installed in schema {_schema(config)}")


def _migrate(_options: Namespace, config: Config, out: Output) -> None:
    """Migrate the store's schema to the version of this library.

    Raises:
        SchemaVersionError: The schema is missing, or newer than this library.
    """
    with _storage(config) as storage:
        problem = _version_problem(storage, config, older_ok=True)
        if problem is None:
            _say(out, "current", f"the store in schema {_schema(config)} is up to date")
        else:
            storage.open(init=True, deadline=_later(_CHANGE_SECONDS))
            _say(out, "migrated", f"store in schema {_schema(config)} migrated {_way(problem)}")


def _way(problem: SchemaVersionError) -> str:
    if problem.found == problem.expected:
        return "to its new name"
    return f"from version {problem.found} to {problem.expected}"


def _add_drop_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--database", action="store_true", help="drop the whole database, not only the schema"
    )


def _drop(options: Namespace, config: Config, out: Output) -> None:
    """Drop the store's schema, or the whole database.

    Raises:
        RefusedError: The user answered no.
        UsageError: The standard input is not a terminal, so nobody can answer.
    """
    asked = not options.yes
    if asked:
        check_can_ask("drop")
    if options.database:
        _drop_database(config, out, asked=asked)
        return
    try:
        with _storage(config) as storage:
            contents = _contents(storage, config)
            if asked:
                ask(f"Drop the store in schema {_schema(config)} of {_place(config)}, {contents}?")
            dropped = storage.drop(_later(_CHANGE_SECONDS))
            _say_dropped(out, _schema(config), dropped.others if dropped is not None else ())
    except SchemaVersionError:
        store = f"there is no store in schema {_schema(config)} of {_place(config)}"
        _say(out, "missing", store)


def _say_dropped(out: Output, schema: str, others: Sequence[str]) -> None:
    text = f"store in schema {schema} dropped"
    if not others:
        _say(out, "dropped", text)
        return
    listed = "".join(f"\n  {printable(other)}" for other in others)
    out.show(
        {"done": "dropped", "others": list(others)},
        f"{text}; the schema stays, because there is more in it:{listed}",
    )


def _drop_database(config: Config, out: Output, *, asked: bool) -> None:
    from eventstore.storages.postgres.admin.database import database_name, drop_database

    if is_embedded(config):
        raise UsageError("an embedded database is dropped by removing its folder")
    name = printable(database_name(config.dsn))
    if asked:
        ask(f"Drop the whole database {name} of {_place(config)}, with every store in it?")
    if drop_database(config.dsn, config.connect_timeout):
        _say(out, "dropped", f"database {name} dropped")
    else:
        _say(out, "missing", f"there is no database {name}")


def _contents(storage: PostgresStorage, config: Config) -> str:
    """Describe the contents of the store, or its version if that differs.

    Raises:
        SchemaVersionError: There is no store.
    """
    try:
        storage.open(init=False, deadline=_later(config.connect_timeout))
    except SchemaVersionError as error:
        if error.found is None:
            raise
        return f"which has version {error.found}"
    head = storage.stream_info(ALL_STREAMS, _later(config.connect_timeout)).stream_version
    streams = storage.stream_count(_later(config.connect_timeout))
    return f"with {_counted(head, 'event')} in {_counted(streams, 'stream')}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _version_problem(
    storage: PostgresStorage, config: Config, *, missing_ok: bool = False, older_ok: bool = False
) -> SchemaVersionError | None:
    """Return the problem of the schema if it is an expected one, None if there is no problem."""
    try:
        storage.open(init=False, deadline=_later(config.connect_timeout))
    except SchemaVersionError as error:
        is_missing = error.found is None
        # Of the same version it was renamed.
        is_older = error.found is not None and error.found <= (error.expected or 0)
        if (missing_ok and is_missing) or (older_ok and is_older):
            return error
        raise
    return None


@contextmanager
def _storage(config: Config, *, create: bool = False) -> Iterator[PostgresStorage]:
    """Lend the storage; *create* the server of an embedded one that is missing."""
    storage = cast("PostgresStorage", storage_for(config, create=create))
    try:
        yield storage
    finally:
        storage.close()


def _later(seconds: float) -> float:
    return time.monotonic() + seconds


def _schema(config: Config) -> str:
    return printable(config.schema)


def _place(config: Config) -> str:
    return printable(masked(config.dsn))


def _say(out: Output, done: str, text: str) -> None:
    out.show({"done": done}, text)


CREATE = Command(name="create", about="create the database, if it does not exist", run=_create)
INIT = Command(name="init", about="install the store in its schema, if it is not there", run=_init)
MIGRATE = Command(
    name="migrate",
    about="bring the store's schema to the version of this library, and to its name",
    run=_migrate,
)
DROP = Command(
    name="drop",
    about="drop the store with everything in it",
    add_arguments=_add_drop_arguments,
    run=_drop,
)
