"""The storage port over PostgreSQL 15 to 18. The only part of the library that knows psycopg."""

from __future__ import annotations

from eventstore.storages.postgres.postgres_storage import PostgresStorage

__all__ = ["PostgresStorage"]
