"""Lends connections for calls: made once, or until they succeed or the deadline passes."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import psycopg

from eventstore.model.errors import StorageUnavailableError
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.sqlstates import (
    LOCK_NOT_AVAILABLE,
    Reaction,
    reaction_to,
    translated,
)

__all__ = ["Lender", "Result", "Work"]

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5

_PASSING = {Reaction.LOST, Reaction.RETRY, Reaction.RECONNECT, Reaction.DENIED}

Result = TypeVar("Result")


Work = Callable[[GuardedConnection], Result]


class Lender(ABC):
    """Has connections, and lends one for each call."""

    def __init__(self) -> None:
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    @abstractmethod
    def close(self) -> None:
        """Interrupt the running calls, and lend nothing any more."""

    @abstractmethod
    def run_once(self, work: Work[Result], deadline: float) -> Result:
        """Return what *work* returns, given a connection. Without retries.

        Raises:
            psycopg.Error: From *work*, as it is.
            StorageUnavailableError: There is no connection. *work* was not called.
        """

    def run(self, work: Work[Result], deadline: float, doing: str) -> Result:
        """Do what `run_once` does, and retry while the database is away.

        Args:
            work: An idempotent call.
            deadline: When to give up.
            doing: What failed, for the message.

        Raises:
            StorageUnavailableError: Not done before *deadline*.
            StorageError: The database refused.
        """
        pause = _FIRST_PAUSE
        denied: psycopg.Error | None = None
        while True:
            reason: Exception
            try:
                return self.run_once(work, deadline)
            except psycopg.Error as error:
                reaction = reaction_to(error)
                # The wait for the lock took all the time that the deadline allows.
                if reaction not in _PASSING or error.sqlstate == LOCK_NOT_AVAILABLE:
                    raise translated(error, doing) from error
                reason = error
                denied = error if reaction is Reaction.DENIED else None
            except StorageUnavailableError as error:
                # That there was no connection in time says less than what was answered before.
                reason = denied or error
            if time.monotonic() + pause >= deadline or self._closed.wait(pause):
                raise _given_up(reason, doing) from reason
            pause = min(2 * pause, _LONGEST_PAUSE)


def _given_up(reason: Exception, doing: str) -> Exception:
    if isinstance(reason, psycopg.Error):
        return translated(reason, doing)
    return StorageUnavailableError(f"{doing}: {reason}")
