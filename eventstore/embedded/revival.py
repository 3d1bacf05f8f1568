"""Starts a server that died under its users again: one attempt at a time, with growing pauses."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.model.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0

_log = get_logger(part="embedded server")


class Revival:
    """Starts one server again, however many threads notice its death. Used from any thread."""

    def __init__(self, has_ended: Callable[[], bool], start: Callable[[], bool]) -> None:
        """Prepare.

        Args:
            has_ended: Whether no process of the server is left. Cheap: called for every connection
                that fails.
            start: Starts the server, or raises `StorageError` or `OSError`. Returns False if it is
                not needed any more.
        """
        self._has_ended = has_ended
        self._start = start
        self._lock = threading.Lock()
        self._pause = 0.0
        self._attempted_at = 0.0
        self._failure: str | None = None

    def revive(self) -> bool:
        """Start the server if it has ended and no other thread is about to start it.

        Returns:
            Whether it was started: connecting again is worth it.

        Raises:
            StorageUnavailableError: It cannot be started now. Not tried again before a pause.
        """
        # Waiting for the other thread would pile up threads during a long recovery.
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._has_ended() and self._attempt()
        except (StorageError, OSError) as error:
            raise self._failed(error) from error
        finally:
            self._lock.release()

    def _attempt(self) -> bool:
        """Start the server, unless the last attempt ended a moment ago."""
        if time.monotonic() < self._attempted_at + self._pause:
            raise _TooEarlyError(self._failure or "the server died again; it is started soon")
        try:
            started = self._start()
        finally:
            self._attempted_at = time.monotonic()
        if started:
            self._failure, self._pause = None, _FIRST_PAUSE
            _log.warning("the server had died and was started again")
        return started

    def _failed(self, error: StorageError | OSError) -> StorageUnavailableError:
        """Return the error to raise. The first of a row is logged."""
        if isinstance(error, _TooEarlyError):
            return error
        if self._failure is None:
            _log.error("the server died and cannot be started again", reason=str(error))
        self._failure = f"the server died and cannot be started again: {error}"
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        return StorageUnavailableError(self._failure)


class _TooEarlyError(StorageUnavailableError):
    """The last attempt was a moment ago."""
