"""The operators that statements use, qualified: a session may have a foreign search path."""

from __future__ import annotations

__all__ = ["AFTER", "AT_LEAST", "AT_MOST", "BELOW", "EQUALS"]

EQUALS = "OPERATOR(pg_catalog.=)"
AT_LEAST = "OPERATOR(pg_catalog.>=)"
AT_MOST = "OPERATOR(pg_catalog.<=)"
AFTER = "OPERATOR(pg_catalog.>)"
BELOW = "OPERATOR(pg_catalog.<)"
