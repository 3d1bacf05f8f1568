"""The thread that wakes other processes after a commit."""

from __future__ import annotations

import threading
import time

from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import ListenerFailed, Ref
from eventstore_actors.state.announcements import News
from eventstore_actors.state.context import Context

__all__ = ["Announcer"]

PAUSE = 0.005
"""Seconds between two announcements; what is committed meanwhile shares the next one."""


class Announcer(threading.Thread):
    """Sends what `Announcements` collects, over a connection of its own.

    No commit waits for it. An announcement that fails is counted and dropped: then other processes
    find out by polling.
    """

    def __init__(self, context: Context, publisher: Ref) -> None:
        super().__init__(name="eventstore-announcer", daemon=True)
        self._config = context.config
        self._announcements = context.announcements
        self._session = context.storage.announce_session()
        self._publisher = publisher
        self._ended = threading.Event()
        self.lost = 0
        """Announcements that could not be sent."""

    def end(self, timeout: float) -> None:
        """Send what is left, and end the thread, from another one."""
        self._ended.set()
        self._announcements.close()
        self.join(timeout / 2)
        # Cuts off an announcement that takes longer.
        self._session.close()
        self.join(timeout / 2)

    def run(self) -> None:
        try:
            while (news := self._announcements.take()) is not None:
                self._send(news)
                self._ended.wait(PAUSE)
        except BaseException as error:  # noqa: BLE001 - the publisher crashes in its place
            try_tell(self._publisher, ListenerFailed(error))
        finally:
            self._session.close()

    def _send(self, news: News) -> None:
        sent = self._session.announce(
            events=news.events,
            subscriptions=news.subscriptions,
            deadline=time.monotonic() + self._config.connect_timeout,
        )
        if not sent:
            self.lost += 1
