"""The sessions that a storage has lent, so that they are closed together with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol, TypeVar

__all__ = ["OpenSessions"]


class _Session(Protocol):
    @property
    def closed(self) -> bool: ...

    def close(self) -> None: ...


Session = TypeVar("Session", bound=_Session)


class OpenSessions:
    """Used from any thread. Sessions that their users have closed are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: list[_Session] = []
        self._closed = False

    def __iter__(self) -> Iterator[_Session]:
        return iter(list(self._sessions))

    def add(self, session: Session) -> Session:
        """Return *session*, which `close` will close; at once if that was called before."""
        with self._lock:
            # Those of crashed actors are closed.
            self._sessions = [known for known in self._sessions if not known.closed]
            self._sessions.append(session)
            closed = self._closed
        if closed:
            session.close()
        return session

    def refuse(self) -> None:
        """Close from now on whatever is added."""
        with self._lock:
            self._closed = True

    def close(self) -> None:
        self.refuse()
        for session in self:
            session.close()
