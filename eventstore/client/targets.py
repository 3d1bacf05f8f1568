"""Find the runtime and the storage for what a user connects to."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from typing import cast

from eventstore.model.config import Config
from eventstore.model.errors import NotRunningError
from eventstore.ports.runtime import Runtime
from eventstore.ports.storage import Storage

__all__ = ["installs_itself", "registered_runtime", "storage_for"]

_GROUP = "eventstore.runtimes"


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


def installs_itself(config: Config) -> bool:
    """Tell whether the schema is installed without ``init=True``, as the target is private."""
    return config.dsn.startswith((_MEMORY, _EMBEDDED))


def storage_for(config: Config, *, pool: object | None = None) -> Storage:
    """Return the storage that *config* names, not opened yet; an embedded server is started.

    Args:
        config: The settings of the store.
        pool: A `psycopg_pool.ConnectionPool` of the service to read by.

    Raises:
        TypeError: *pool* is something else.
        ValueError: *pool* is given for a store in memory.
        StorageError: The embedded server cannot be started; the message says what to do.
    """
    if config.dsn.startswith(_MEMORY):
        if pool is not None:
            raise ValueError("pool needs a store in PostgreSQL, and dsn is 'memory:'")
        from eventstore.storages.memory import MemoryStorage

        return MemoryStorage(config)
    if config.dsn.startswith(_EMBEDDED):
        return _embedded(config, pool)
    from eventstore.storages.postgres import PostgresStorage

    return PostgresStorage(config, pool=pool)


def _embedded(config: Config, pool: object | None) -> Storage:
    from eventstore.embedded import EmbeddedServer
    from eventstore.storages.postgres import PostgresStorage

    path = config.dsn.removeprefix(_EMBEDDED)
    if not path:
        raise ValueError("dsn 'embedded:' needs a path, as in 'embedded:./shop'")
    server = EmbeddedServer.start(path)
    try:
        config = replace(config, dsn=server.dsn)
        return PostgresStorage(config, on_close=server.close, pool=pool)
    except BaseException:
        server.close()
        raise
