"""Keeps the log silent until it is asked for: psycopg's pool warns of every failed connect.

What our pools say becomes debug lines of the library's own logger; other pools are left alone.
"""

from __future__ import annotations

import logging

from eventstore.model.log import get_logger
from eventstore.storages.postgres.connecting.connection import PooledConnection

__all__ = ["POOL_NAME", "take_over_log"]

POOL_NAME = "eventstore-reads"

_log = get_logger()


def take_over_log() -> None:
    """Filter the logger of psycopg's pools; harmless when repeated."""
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
