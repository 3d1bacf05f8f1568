"""Learns of new events of one of several stores: by what all of them hear, else by polling."""

from __future__ import annotations

import time

from eventstore.model.errors import StorageUnavailableError
from eventstore.ports.listening import Heard, KnownEvent
from eventstore.storages.postgres.announce_session import OwnSessions
from eventstore.storages.postgres.connecting.lender import Lender, Result, Work
from eventstore.storages.postgres.looks import SHORTEST_LOAN, Looks
from eventstore.storages.postgres.reader import Reader
from eventstore.storages.postgres.shared_ears import SharedEars
from eventstore.storages.postgres.statements import Statements
from eventstore.storages.postgres.store_ears import StoreEars

__all__ = ["SharedHeadListener"]


class SharedHeadListener(Looks):
    """Waits for hints and reads the head, without a connection of its own.

    Used by one thread; woken and closed from any.
    """

    def __init__(
        self,
        statements: Statements,
        own: OwnSessions,
        shared: SharedEars,
        lender: Lender,
        timeout: float,
    ) -> None:
        """Begin to hear.

        Args:
            statements: The statements of the store.
            own: The sessions of its storage, whose notifications are ignored.
            shared: Listens for this store and for others.
            lender: Lends a connection for each look; closed with the listener.
            timeout: Longest time in seconds for a look.
        """
        super().__init__(Reader(statements), timeout)
        self._lender = lender
        self._shared = shared
        self._ears = StoreEars(statements, own, shared.ring)
        self._prompt = True
        shared.join(self._ears)

    @property
    def listening(self) -> bool:
        """Whether announcements arrive; otherwise new events are found by polling."""
        return self._ears.hearing

    def wait(
        self, timeout: float, *, prompt: bool = True, known: KnownEvent | None = None
    ) -> Heard:
        """Block until there is something new; see `HeadListener.wait`."""
        deadline = time.monotonic() + timeout
        with self._in_use:
            self._anew |= prompt is not self._prompt
            self._prompt = prompt
            self._ears.want(prompt=prompt)
            if self._anew:
                # Else the first announcement that can be heard would have it look once more.
                self._ears.settle(deadline)
            else:
                self._ears.wait(deadline, self._rests_until, deaf=self._last.deaf)
            if self.closed:
                raise StorageUnavailableError("the listener is closed")
            hints, anew = self._ears.take()
            self._anew |= anew
            return self._look(known, hints, max(timeout, SHORTEST_LOAN))

    def wake(self) -> None:
        """Make `wait` return at once, from any thread."""
        self._ears.wake()

    @property
    def closed(self) -> bool:
        return self._lender.closed

    def close(self) -> None:
        """Make `wait` end, and interrupt a look. Idempotent."""
        self._lender.close()
        self._shared.leave(self._ears)
        self._ears.wake()

    def _see(self, work: Work[Result], deadline: float, patience: float | None = None) -> Result:
        until = deadline if patience is None else min(deadline, time.monotonic() + patience)
        return self._lender.run(work, until, "reading new events failed")

    def _back(self) -> None:
        self._shared.hurry()

    def _tell_of_deafness(self) -> None:
        if not self.listening and self._ears.prompt:
            self._shared.tell_of_deafness()
