"""The thread that listens for commits and reads the events of other processes."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from eventstore.model.errors import HistoryRewoundError, StorageUnavailableError
from eventstore.ports.listening import Heard
from eventstore.ports.stored_events import StoredEvent, payload_bytes
from eventstore_actors.announcing.rewind import History, Mark
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import (
    EventsLinked,
    HeadHeard,
    HistoryRewound,
    ListenerDeaf,
    ListenerFailed,
    Ref,
)
from eventstore_actors.state.context import Context

__all__ = ["Listener"]

PAGE_EVENTS = 1_000
PAGE_BYTES = 4 * 1024 * 1024

GRACE = 0.02
"""Seconds to wait until a commit of the own writer has arrived in the memory."""

NAP = 0.001
"""Seconds between two looks at the memory during that wait."""

PAUSE = 0.1
"""Seconds between two attempts to reach a database that is away."""


class Listener(threading.Thread):
    """Waits until the head moves, and sends the new events to the publisher.

    Events of the runtime's own writer are not read again: they are in the memory, or arrive there
    soon. If there are more new events than the memory holds, only the newest one is sent.

    It also detects that the database was set back in time. The newest known event is its mark: new
    events are read together with the mark, or the mark is checked afterwards. And every look checks
    the event that was at the head of the one before.
    """

    def __init__(self, context: Context, publisher: Ref) -> None:
        super().__init__(name="eventstore-listener", daemon=True)
        self._shared = context
        self._recent = context.recent
        self._history = History(context)
        self._publisher = publisher
        self._heads = context.storage.head_listener()
        self._ended = threading.Event()
        self._look = threading.Event()
        self._connected = False
        self._deaf = False
        """What the publisher was told last of announcements."""
        self._deletion_no = 0
        self._link_no = 0
        self._told = 0
        """Newest position that was sent to the publisher."""

    def attend(self) -> None:
        """Wake up because the first subscription watches now. From any thread."""
        self._heads.wake()

    def look(self) -> None:
        """Read new events now, announced or not. From any thread."""
        self._look.set()
        self._heads.wake()

    def end(self, timeout: float) -> None:
        """End the thread. Call it from another thread."""
        self._ended.set()
        self._heads.wake()
        self.join(timeout)

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                self._begin_turn()
                self._turn()
        except BaseException as error:  # noqa: BLE001 - the publisher crashes for it
            try_tell(self._publisher, ListenerFailed(error))
        finally:
            self._heads.close()

    def _turn(self) -> None:
        try:
            heard = self._heads.wait(
                self._patience(), prompt=self._recent.watched, known=self._history.seen
            )
            if not self._ended.is_set():
                self._history.verify(heard)
                self._tell_of(heard)
                self._history.see(heard)
        except HistoryRewoundError as error:
            try_tell(self._shared.supervisor, HistoryRewound(error))
            self._ended.set()
        except StorageUnavailableError as error:
            self._connected = False
            try_tell(self._publisher, ListenerDeaf(error))
            self._ended.wait(PAUSE)

    def _begin_turn(self) -> None:
        pulse = self._shared.listening
        pulse.turned()
        pulse.until = time.monotonic() + self._patience()
        pulse.await_turn()

    def _patience(self) -> float:
        config = self._shared.config
        if self._connected:
            return config.poll_interval
        return max(config.poll_interval, config.connect_timeout)

    def _tell_of(self, heard: Heard) -> None:
        if heard.reconnected or not self._connected or heard.deletion_no > self._deletion_no:
            self._tell_of_connection(heard)
            return
        if heard.link_no > self._link_no:
            self._tell_of_links(heard.link_no)
        if self._history.is_doubtful(heard) and not self._look.is_set():
            self._history.check(heard.head)
        if self._look.is_set() or heard.head > self._wait_for_own_commit(heard.head):
            self._look.clear()
            if self._recent.watched:
                self._tell_of_news(heard)
            else:
                self._tell_of_head(heard)
        elif heard.touched or heard.unerased or heard.deaf is not self._deaf:
            self._tell(heard)

    def _known(self) -> int:
        return max(self._told, self._recent.head or 0)

    def _wait_for_own_commit(self, head: int) -> int:
        """Wait for a commit of the own writer that is on its way into the memory.

        Naps instead of a signal, so that one turn takes the announcements of several commits.

        Returns:
            The newest known position.
        """
        if head > self._known() and self._recent.writing:
            until = time.monotonic() + GRACE
            while head > self._known() and not self._look.is_set() and time.monotonic() < until:
                time.sleep(NAP)
        return self._known()

    # ── after a (re)connect ──────────────────────────────────────────────────────────────────

    def _tell_of_connection(self, heard: Heard) -> None:
        """Report a new connection, after a check that history did not go back."""
        newest = self._read(heard.head - 1, 1)
        self._history.check()
        self._deletion_no, self._link_no = heard.deletion_no, heard.link_no
        self._tell(replace(heard, reconnected=True), newest)
        self._told = heard.head
        self._connected = True

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def _tell_of_links(self, newest: int) -> None:
        """Report the streams with links after the newest known one, if anybody watches a stream."""
        while self._recent.watched and self._link_no < newest:
            page = self._heads.linked(self._link_no, PAGE_EVENTS, self._deadline())
            if not page:
                break
            self._link_no = page[-1].link_no
            versions = {each.stream_id: each.version for each in page}
            try_tell(self._publisher, EventsLinked(versions))
        self._link_no = max(self._link_no, newest)

    def _tell_of_news(self, heard: Heard) -> None:
        size = 0
        while self._can_hold(heard.head, size):
            page = self._read_on()
            if not page:
                break
            size += payload_bytes(page)
            self._tell(replace(heard, head=page[-1].global_position), page)
            heard = replace(heard, head=max(heard.head, self._told), touched=frozenset())
            if len(page) < PAGE_EVENTS and self._told >= heard.head:
                return
        if heard.head > self._known():
            self._tell_of_head(heard)
        elif heard.touched:
            self._tell(heard)

    def _read_on(self) -> list[StoredEvent]:
        """Read the events after the newest known one, together with it: one consistent read."""
        known, mark = self._known(), self._history.mark()
        if mark is None or mark.position < known:
            page = self._read(known, PAGE_EVENTS)
            self._history.check()
            return page
        page = self._read(mark.position - 1, PAGE_EVENTS + 1, mark.size + PAGE_BYTES)
        if page and Mark.of(page[0]) == mark:
            return page[1:]
        # The mark may have been deleted.
        self._history.check()
        return [event for event in page if event.global_position > mark.position]

    def _tell_of_head(self, heard: Heard) -> None:
        """Report only the newest event: there are more than the memory holds."""
        newest = self._read(heard.head - 1, 1)
        self._history.check()
        if newest:
            self._tell(replace(heard, head=newest[0].global_position - 1))
            heard = replace(heard, head=newest[0].global_position, touched=frozenset())
        self._tell(heard, newest)

    def _can_hold(self, head: int, size: int) -> bool:
        recent = self._recent
        return head - self._known() <= recent.max_events and size < recent.max_bytes

    def _read(self, after: int, count: int, max_bytes: int = PAGE_BYTES) -> list[StoredEvent]:
        return self._heads.read_all(max(after, 0), count, max_bytes, self._deadline())

    def _tell(self, heard: Heard, events: list[StoredEvent] | None = None) -> None:
        self._deaf = heard.deaf
        try_tell(self._publisher, HeadHeard(heard, tuple(events or ())))
        self._told = max(self._told, heard.head)
        if events:
            self._history.tell_of(events[-1])

    def _deadline(self) -> float:
        deadline = time.monotonic() + self._shared.config.connect_timeout
        self._shared.listening.until = deadline
        return deadline
