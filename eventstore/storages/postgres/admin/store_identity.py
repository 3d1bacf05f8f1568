"""Proves that two connections lead to the same store, by the random id of the store."""

from __future__ import annotations

from uuid import UUID

from eventstore.model.errors import StorageError
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.statements import Statements

__all__ = ["StoreIdentity"]


class StoreIdentity:
    """Reads the id of the store in one schema."""

    def __init__(self, statements: Statements) -> None:
        self._statement = statements.identity

    def read(self, connection: GuardedConnection, deadline: float) -> UUID:
        """Return the id of the store that *connection* leads to."""
        store_id, _ = self._row(connection, deadline)
        return store_id

    def prove(self, connection: GuardedConnection, store_id: UUID, deadline: float) -> None:
        """Check that *connection* leads to the store *store_id*, on a server that takes writes.

        Raises:
            StorageError: It does not.
        """
        found, is_standby = self._row(connection, deadline)
        if found != store_id:
            raise StorageError("pool leads to another store than dsn")
        if is_standby:
            raise StorageError("pool leads to a standby, which may lack the newest events")

    def _row(self, connection: GuardedConnection, deadline: float) -> tuple[UUID, bool]:
        store_id, is_standby = connection.execute(self._statement, (), deadline)[0]
        return store_id, is_standby
