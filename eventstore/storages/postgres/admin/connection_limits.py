"""Warns if the server allows fewer connections than this process may open."""

from __future__ import annotations

from eventstore.model.log import get_logger
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.statements import NO_SEARCH_PATH

__all__ = ["warn_of_limits"]

_log = get_logger()

_LIMITS = b"""
    SELECT current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - COALESCE(current_setting('reserved_connections', true), '0')::int,
           (SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user),
           (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
"""
_NAMES = ("max_connections", "rolconnlimit", "datconnlimit")


def warn_of_limits(connection: GuardedConnection, needed: int, deadline: float) -> None:
    """Log a warning for each limit of the server that is below *needed* connections."""
    with connection.transaction(deadline) as raw:
        raw.execute(NO_SEARCH_PATH)
        limits = raw.execute(_LIMITS).fetchone()
    for name, limit in zip(_NAMES, limits or (), strict=True):
        # -1 means no limit; a role may have no row.
        if limit is not None and 0 <= limit < needed:
            _log.warning(
                "the server may refuse connections", limit=name, allowed=limit, needed=needed
            )
