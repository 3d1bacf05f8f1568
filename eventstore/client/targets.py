"""From what a user connects to, to the storage behind it."""

from __future__ import annotations

from dataclasses import replace

from eventstore.model.config import Config
from eventstore.ports.storage import Storage

__all__ = ["installs_itself", "storage_for"]

_MEMORY = "memory:"
_EMBEDDED = "embedded:"


def installs_itself(config: Config) -> bool:
    """Tell whether the schema is installed without being asked: the target is private."""
    return config.dsn.startswith((_MEMORY, _EMBEDDED))


def storage_for(config: Config) -> Storage:
    """Return the storage that *config* names, not opened yet; an embedded server is started.

    Raises:
        StorageError: The embedded server cannot be started; the message says what to do.
    """
    if config.dsn.startswith(_MEMORY):
        from eventstore.storages.memory import MemoryStorage

        return MemoryStorage(config)
    if config.dsn.startswith(_EMBEDDED):
        return _embedded(config)
    from eventstore.storages.postgres import PostgresStorage

    return PostgresStorage(config)


def _embedded(config: Config) -> Storage:
    from eventstore.embedded import EmbeddedServer
    from eventstore.storages.postgres import PostgresStorage

    path = config.dsn.removeprefix(_EMBEDDED)
    if not path:
        raise ValueError("dsn 'embedded:' needs a path, as in 'embedded:./shop'")
    server = EmbeddedServer.start(path)
    try:
        return PostgresStorage(replace(config, dsn=server.dsn), on_close=server.close)
    except BaseException:
        server.close()
        raise
