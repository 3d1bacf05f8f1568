"""What one of several stores hears over the session that LISTENs for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg

from eventstore.storages.postgres.announce_session import OwnSessions
from eventstore.storages.postgres.ears import Hints
from eventstore.storages.postgres.statements import Channel

__all__ = ["StoreEars"]


class StoreEars:
    """Holds what was heard until the listener of the store takes it. Used from any thread."""

    def __init__(self, channel: Channel, own: OwnSessions, ring: Callable[[], object]) -> None:
        """Prepare.

        Args:
            channel: The channel of the store.
            own: The sessions of its storage, whose notifications are ignored.
            ring: Called when it wants to listen, or not any more.
        """
        self.channel = channel
        self._own = own
        self._ring = ring
        self._changed = threading.Condition()
        self._hints = Hints()
        self._anew = False
        self._woken = False
        self._listens = False
        self._session_hears: bool | None = None
        """Whether the session hears what it listens to; None: that is not known yet."""
        self.prompt = False
        """Whether the store wants announcements."""
        self.hearing = False
        """Whether announcements arrive."""

    # ── for the listener of the store ────────────────────────────────────────────────────────────

    def want(self, *, prompt: bool) -> None:
        """Listen from now on, or not."""
        if prompt is not self.prompt:
            self.prompt = prompt
            self._ring()

    def settle(self, deadline: float) -> None:
        """Block until it is known whether announcements arrive, or until *deadline*."""
        with self._changed:
            self._wait_for(lambda: self._woken or self._is_settled(), lambda: deadline)
            self._woken = False

    def wait(self, deadline: float, rests_until: float, *, deaf: bool) -> None:
        """Block until there is news, or until *deadline*; after mere hints, until *rests_until*.

        Args:
            deadline: Of the monotonic clock, as *rests_until*.
            rests_until: When to look by hints again.
            deaf: Whether it was deaf at the last look; a change is news.
        """
        with self._changed:
            self._wait_for(
                lambda: self._anew or self._woken or self.hearing is deaf,
                lambda: min(rests_until, deadline) if self._hints.any() else deadline,
            )
            self._woken = False

    def wake(self) -> None:
        """Make `wait` return at once."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def take(self) -> tuple[Hints, bool]:
        """Return what was heard, and whether something may have been missed. Forget both."""
        with self._changed:
            hints, self._hints = self._hints, Hints()
            anew, self._anew = self._anew, False
        return hints, anew

    # ── for the thread that listens ──────────────────────────────────────────────────────────────

    def hear(self, notify: psycopg.Notify) -> None:
        """Take a notification on the channel of the store."""
        if notify.pid not in self._own.announcing:
            with self._changed:
                self._hints.take_in(notify.payload)
                self._changed.notify()

    def note(self, *, listens: bool, hears: bool | None) -> None:
        """Note what has become of the session.

        Args:
            listens: Whether it listens to the channel of the store.
            hears: Whether it hears what it listens to; None: that is not known yet.
        """
        with self._changed:
            if (listens, hears) == (self._listens, self._session_hears):
                return
            if listens and not self._listens:
                # A server that was restarted gives the same process ids to others.
                self._own.announcing = set()
                self._anew = True
            self._listens, self._session_hears = listens, hears
            self.hearing = bool(hears) and self._is_settled()
            self._changed.notify()

    def _is_settled(self) -> bool:
        if self._session_hears:
            return self._listens is self.prompt
        return self._session_hears is False

    def _wait_for(self, is_news: Callable[[], bool], until: Callable[[], float]) -> None:
        while not is_news() and (left := until() - time.monotonic()) > 0:
            self._changed.wait(left)
