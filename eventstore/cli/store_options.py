"""Turn options into settings, and settings into an open store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eventstore import CallerRuntime, Config, EventStore, StorageError, StorageUnavailableError
from eventstore.cli.failures import UsageError

__all__ = ["configured", "is_embedded", "naming_what_is_missing", "opened"]

_EMBEDDED = "embedded:"

_NO_DATABASE = "3D000"
"""The server's code for a database that it does not have."""


def configured(dsn: str | None, schema: str | None) -> Config:
    """Return the settings that the options give, and the environment for the rest.

    Raises:
        UsageError: No database is given, or one that lives in this process only.
        ValueError: A setting is invalid.
    """
    typed: dict[str, Any] = {"dsn": dsn, "schema": schema, "pool_size": 1}
    given = {name: value for name, value in typed.items() if value is not None}
    if "dsn" not in given and not os.environ.get("EVENTSTORE_DSN"):
        raise UsageError(
            "no database is given: use --dsn or set EVENTSTORE_DSN, for instance to"
            " postgresql:///shop or embedded:./shop"
        )
    config = Config.from_env(**given)
    if config.dsn.startswith("memory:"):
        raise UsageError(
            "memory: lives and dies with one process, so there is nothing to see from here:"
            " use a PostgreSQL connection string or embedded:PATH"
        )
    return config


@contextmanager
def opened(config: Config, *, creates: bool) -> Iterator[EventStore]:
    """Connect to the store, and close it at the end of the block.

    Args:
        config: Where it is.
        creates: Create an embedded store that is missing.

    Raises:
        SchemaVersionError: The schema is missing, or of another version.
        StorageUnavailableError: The database is unreachable.
    """
    with EventStore.connect(
        config, runtime=CallerRuntime, init=None if creates else False
    ) as store:
        yield store


@contextmanager
def naming_what_is_missing() -> Iterator[None]:
    """Name the command to run, if the block fails because the server lacks the database."""
    try:
        yield
    except StorageError as error:
        if getattr(error.__cause__, "sqlstate", None) != _NO_DATABASE:
            raise
        raise StorageUnavailableError(f"{error}; run: eventstore create") from error


def is_embedded(config: Config) -> bool:
    """Tell whether the store is on an embedded server."""
    return config.dsn.startswith(_EMBEDDED)
