"""Looks for what is new in a store: at the head, and now and then at what is new besides events."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod

from eventstore.model.errors import StorageError
from eventstore.model.names import ALL_STREAMS
from eventstore.ports.listening import Heard, KnownEvent, LinkedStream
from eventstore.ports.stored_events import StoredEvent
from eventstore.storages.postgres.connecting.lender import Result, Work
from eventstore.storages.postgres.ears import Hints
from eventstore.storages.postgres.reader import Reader

__all__ = ["SHORTEST_LOAN", "Looks"]

SHORTEST_LOAN = 2.0
"""Seconds for a look over a lent connection; the pool holds back one second for others."""

_REST = 0.005
"""Seconds between two looks by hints, of which the first found nothing."""

_BESIDES = 0.05
"""Seconds for which links are not looked for, while every look finds new events."""


class Looks(ABC):
    """The looks of a listener, and what it knows from the last one. Used by one thread."""

    def __init__(self, reader: Reader, timeout: float) -> None:
        """Prepare.

        Args:
            reader: Reads the store.
            timeout: Longest time in seconds for a look.
        """
        self._reader = reader
        self._timeout = timeout
        self._in_use = threading.Lock()
        self._anew = True
        """Something may have been missed since the last look."""
        self._last = Heard(0, reconnected=True, deaf=True)
        self._rests_until = 0.0
        self._away = False
        self._unerased = False
        self._link_no = 0
        self._besides_from = 0.0

    @property
    @abstractmethod
    def listening(self) -> bool:
        """Whether announcements arrive; otherwise new events are found by polling."""

    @abstractmethod
    def _see(self, work: Work[Result], deadline: float, patience: float | None = None) -> Result:
        """Return what *work* returns, given a connection.

        Raises:
            StorageUnavailableError: Not done before *deadline*, or not within *patience* seconds
                over a lent connection.
            StorageError: The database refused.
        """

    @abstractmethod
    def _back(self) -> None:
        """Do what most likely succeeds now, and failed while the server was away."""

    @abstractmethod
    def _tell_of_deafness(self) -> None:
        """Say once why new events are found by polling only, though they can be read."""

    def read_all(
        self, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        """Read new events; see `HeadListener.read_all`."""
        with self._in_use:
            return self._see(
                lambda c: self._reader.after(c, ALL_STREAMS, after, count, max_bytes, deadline),
                deadline,
            )

    def linked(self, after: int, count: int, deadline: float) -> list[LinkedStream]:
        """Read what was linked; see `HeadListener.linked`."""
        with self._in_use:
            return self._see(lambda c: self._reader.linked(c, after, count, deadline), deadline)

    def _look(self, known: KnownEvent | None, hints: Hints, patience: float) -> Heard:
        """Read the head. Return it with the hints that arrived before."""
        deadline = time.monotonic() + self._timeout
        try:
            seen = self._see(lambda c: self._reader.look(c, known, deadline), deadline, patience)
            self._look_besides(seen.head, deadline, patience)
        except StorageError:
            self._away = True
            raise
        heard = Heard(
            seen.head,
            reconnected=self._anew,
            touched=frozenset(hints.touched),
            deaf=not self.listening,
            newest=seen.newest,
            deletion_no=seen.deletion_no,
            unerased=self._unerased,
            link_no=self._link_no,
            holds=seen.holds,
        )
        self._note(heard)
        return heard

    def _look_besides(self, head: int, deadline: float, patience: float) -> None:
        """Read what is new besides events: if there are none, and now and then if there are."""
        now = time.monotonic()
        if self._anew or head == self._last.head or now >= self._besides_from:
            read = self._reader.besides
            self._unerased, self._link_no = self._see(
                lambda c: read(c, deadline), deadline, patience
            )
            self._besides_from = now + _BESIDES

    def _note(self, heard: Heard) -> None:
        """Draw the conclusions from a look that succeeded."""
        self._anew = False
        if _news(heard) == _news(self._last):
            self._rests_until = time.monotonic() + _REST
        self._last = heard
        if self._away:
            self._away = False
            self._back()
        else:
            self._tell_of_deafness()


def _news(heard: Heard) -> tuple[int, int, int]:
    return heard.head, heard.deletion_no, heard.link_no
