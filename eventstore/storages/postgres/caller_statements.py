"""The statements in and about transactions of callers, which `statements` makes complete."""

from __future__ import annotations

__all__ = ["BOUND", "CALLER_TRANSACTION", "TRANSACTION_STATUS", "WRITE_LOCK_HOLDER"]

# A condition that calls something volatile is checked for each row, and so after the function whose
# rows these are: when it holds the write lock.
BOUND = " WHERE {schema}.bound_transaction(%b)"
"""The end of a statement that writes in a caller's transaction; it also bounds the transaction."""

CALLER_TRANSACTION = """
    SELECT t.isolation, t.read_only, CASE WHEN t.read_only OPERATOR(pg_catalog.=) 'off'
             THEN pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8 END
      FROM (SELECT pg_catalog.current_setting('transaction_isolation') AS isolation,
                   pg_catalog.current_setting('transaction_read_only') AS read_only) t
     WHERE {proven}
"""

WRITE_LOCK_HOLDER = """
    SELECT pid, application_name, state, began_at AT TIME ZONE 'UTC'
      FROM {schema}.write_lock_holder() WHERE {proven} AND pid IS NOT NULL
"""

# Null if it ended so long ago that nobody remembers how.
TRANSACTION_STATUS = b"""
    SELECT t.id, pg_catalog.pg_xact_status(t.id::pg_catalog.text::pg_catalog.xid8)
      FROM pg_catalog.unnest(%b) AS t (id)
"""
