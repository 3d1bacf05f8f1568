"""Keeps the log silent by default: psycopg's pool warns of every failed connect.

Messages of our pools become debug lines of the library's logger. Other pools are not touched.
"""

from __future__ import annotations

import logging

from eventstore.model.log import get_logger
from eventstore.storages.postgres.connecting.connection import PooledConnection

__all__ = ["POOL_NAME", "take_over_log"]

POOL_NAME = "eventstore-reads"

_log = get_logger()


def take_over_log() -> None:
    """Filter the logger of psycopg's pools. Idempotent."""
    logging.getLogger("psycopg.pool").addFilter(_passes)


def _passes(record: logging.LogRecord) -> bool:
    arguments = record.args if isinstance(record.args, tuple) else ()
    if not any(_is_ours(argument) for argument in arguments):
        return True
    _log.debug("psycopg's pool", text=record.getMessage())
    return False


def _is_ours(argument: object) -> bool:
    return isinstance(argument, PooledConnection) or (
        isinstance(argument, str) and argument.startswith(POOL_NAME)
    )
