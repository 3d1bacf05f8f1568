"""Retries a call on the database until it succeeds, is refused, or its deadline passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg

from eventstore.model.errors import StorageUnavailableError
from eventstore.storages.postgres.connecting.sqlstates import (
    LOCK_NOT_AVAILABLE,
    Reaction,
    reaction_to,
    translated,
)

__all__ = ["repeated"]

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5

_PASSING = {Reaction.LOST, Reaction.RETRY, Reaction.RECONNECT}

Result = TypeVar("Result")


def repeated(
    attempt: Callable[[], Result], deadline: float, doing: str, closed: threading.Event
) -> Result:
    """Call *attempt* until it succeeds.

    Args:
        attempt: An idempotent call.
        deadline: When to give up.
        doing: What failed, for the message.
        closed: Ends the pauses between attempts.

    Raises:
        StorageUnavailableError: Not done before *deadline*.
        StorageError: The database refused.
    """
    pause = _FIRST_PAUSE
    while True:
        reason: Exception
        try:
            return attempt()
        except psycopg.Error as error:
            # The wait for the lock took all the time that the deadline allows.
            if reaction_to(error) not in _PASSING or error.sqlstate == LOCK_NOT_AVAILABLE:
                raise translated(error, doing) from error
            reason = error
        except StorageUnavailableError as error:
            reason = error
        if time.monotonic() + pause >= deadline or closed.wait(pause):
            raise _given_up(reason, doing) from reason
        pause = min(2 * pause, _LONGEST_PAUSE)


def _given_up(reason: Exception, doing: str) -> Exception:
    if isinstance(reason, psycopg.Error):
        return translated(reason, doing)
    return StorageUnavailableError(f"{doing}: {reason}")
