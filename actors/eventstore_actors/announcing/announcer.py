"""The thread that notifies other processes after a commit, and waits for commits of callers."""

from __future__ import annotations

import threading
import time
from typing import assert_never

from eventstore.ports.announcing import Announced
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import ListenerFailed, LookForEvents, Ref
from eventstore_actors.state.announcements import News
from eventstore_actors.state.context import Context

__all__ = ["Announcer"]

PAUSE = 0.005
"""Seconds between two announcements. Commits in between share the next one."""


QUIET = 1.0
"""Seconds before the next look for listeners after one found none; at most the poll interval."""


class Announcer(threading.Thread):
    """Sends what `Announcements` collects, over a connection of its own.

    No commit waits for it. While no other process listens, it only looks about once per second
    whether one does. A failed announcement is counted and dropped: other processes poll.
    """

    def __init__(self, context: Context, publisher: Ref) -> None:
        super().__init__(name="eventstore-announcer", daemon=True)
        self._config = context.config
        self._announcements = context.announcements
        self._session = context.storage.announce_session()
        self._publisher = publisher
        self._ended = threading.Event()
        self.lost = 0
        """Number of announcements that could not be sent."""

    def end(self, timeout: float) -> None:
        """Send what is left and end the thread. Call it from another thread."""
        self._ended.set()
        self._announcements.close()
        self.join(timeout / 2)
        # Cuts off an announcement that is still being sent.
        self._session.close()
        self.join(timeout / 2)

    def run(self) -> None:
        try:
            events_from = 0.0
            while (news := self._announcements.take(events_from)) is not None:
                self._look()
                if news.events or news.subscriptions:
                    pause = self._send(news)
                    self._announcements.sent()
                    events_from = time.monotonic() + pause
                self._ended.wait(PAUSE)
        except BaseException as error:  # noqa: BLE001 - the publisher crashes for it
            try_tell(self._publisher, ListenerFailed(error))
        finally:
            self._session.close()

    def _look(self) -> None:
        """Look at the transactions of callers, if it is time to: have what committed read."""
        if transactions := self._announcements.transactions():
            deadline = time.monotonic() + self._config.connect_timeout
            ended = self._session.committed(transactions, deadline)
            self._announcements.forget_transactions(ended)
            if any(ended.values()):
                self._announcements.note_events()
                try_tell(self._publisher, LookForEvents())

    def _send(self, news: News) -> float:
        """Send an announcement.

        Returns:
            Seconds to wait before the next announcement of events alone.
        """
        announced = self._session.announce(
            events=news.events,
            subscriptions=news.subscriptions,
            deadline=time.monotonic() + self._config.connect_timeout,
        )
        match announced:
            case Announced.SENT:
                return PAUSE
            case Announced.LOST:
                self.lost += 1
                return PAUSE
            case Announced.UNHEARD:
                return min(QUIET, self._config.poll_interval)
            case _:
                assert_never(announced)
