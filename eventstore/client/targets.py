"""Find the runtime and the storage for what a user connects to."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from typing import cast

from eventstore.model.config import Config
from eventstore.model.errors import NotRunningError, SchemaVersionError
from eventstore.ports.runtime import Runtime
from eventstore.ports.storage import Storage

__all__ = ["installs", "registered_runtime", "storage_for"]

_GROUP = "eventstore.runtimes"


@cache  # each look reads the metadata of every package that is installed
def registered_runtime(name: str = "actors") -> type[Runtime]:
    """Return the runtime class that is registered as *name*.

    Raises:
        NotRunningError: No class is registered under that name.
    """
    for entry in entry_points(group=_GROUP, name=name):
        return cast(type[Runtime], entry.load())
    raise NotRunningError(
        f"no runtime {name!r} is registered in the entry points {_GROUP!r}: install the project,"
        " or pass runtime=CallerRuntime to append and read only"
    )


_MEMORY = "memory:"
_EMBEDDED = "embedded:"


def installs(config: Config, init: bool | None) -> bool:
    """Tell whether a store that is missing is created: as *init* says, else if it is private."""
    return config.dsn.startswith((_MEMORY, _EMBEDDED)) if init is None else init


def storage_for(
    config: Config,
    *,
    pool: object | None = None,
    create: bool = True,
    beside: Storage | None = None,
) -> Storage:
    """Return the storage that *config* names, not opened yet; an embedded server is started.

    Args:
        config: The settings of the store.
        pool: A `psycopg_pool.ConnectionPool` of the service to read by.
        create: Create an embedded server that is missing.
        beside: An open storage of the same database, whose connections it shares.

    Raises:
        TypeError: *pool* is something else.
        ValueError: *pool* is given for a store in memory.
        SchemaVersionError: The embedded server is missing, and *create* is False.
        StorageError: The embedded server cannot be started; the message says what to do.
        StorageUnavailableError: *beside* is closed.
    """
    if beside is not None:
        return beside.beside(config)
    if config.dsn.startswith(_MEMORY):
        if pool is not None:
            raise ValueError("pool needs a store in PostgreSQL, and dsn is 'memory:'")
        from eventstore.storages.memory import MemoryStorage

        return MemoryStorage(config)
    if config.dsn.startswith(_EMBEDDED):
        return _embedded(config, pool, create=create)
    from eventstore.storages.postgres import PostgresStorage

    return PostgresStorage(config, pool=pool)


def _embedded(config: Config, pool: object | None, *, create: bool) -> Storage:
    from eventstore.embedded import EmbeddedServer, NoServerError
    from eventstore.storages.postgres import PostgresStorage
    from eventstore.storages.postgres.admin.store_schema import SCRIPTS

    path = config.dsn.removeprefix(_EMBEDDED)
    if not path:
        raise ValueError("dsn 'embedded:' needs a path, as in 'embedded:./shop'")
    try:
        server = EmbeddedServer.start(path, create=create)
    except NoServerError as error:
        problem = f"{error}, and so no store; run: eventstore init"
        raise SchemaVersionError(problem, found=None, expected=SCRIPTS.version) from error
    try:
        config = replace(config, dsn=server.dsn)
        return PostgresStorage(config, on_close=server.close, pool=pool, revive=server.revive)
    except BaseException:
        server.close()
        raise
