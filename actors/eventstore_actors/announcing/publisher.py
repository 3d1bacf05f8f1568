"""The actor that keeps the newest events in memory and wakes the subscriptions."""

from __future__ import annotations

from collections.abc import Iterable, KeysView, Mapping, Sequence
from typing import Any

from eventstore.model.errors import EventStoreError, HistoryRewoundError
from eventstore.model.log import get_logger
from eventstore.model.names import ALL_STREAMS
from eventstore.ports.listening import Heard
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.announcing.announcer import Announcer
from eventstore_actors.announcing.listener import Listener
from eventstore_actors.kernel.actor import SupervisedActor, answer, try_tell
from eventstore_actors.kernel.messages import (
    Addressee,
    Announce,
    Child,
    Erase,
    EventsCommitted,
    EventsDeleted,
    EventsLinked,
    Forget,
    HeadHeard,
    HeadMoved,
    HistoryRewound,
    ListenerDeaf,
    ListenerFailed,
    LookForEvents,
    Touched,
    Unwatch,
    Watch,
)
from eventstore_actors.state.context import Context

__all__ = ["Publisher", "Watchers"]


class Watchers:
    """Subscriptions and followers by stream. A dead one is removed when a message to it fails."""

    def __init__(self) -> None:
        self._by_stream: dict[str, dict[str, Addressee]] = {}

    @property
    def streams(self) -> KeysView[str]:
        """The watched streams; ``$all`` may be among them."""
        return self._by_stream.keys()

    def add(self, stream_id: str, watcher: Addressee) -> None:
        self._by_stream.setdefault(stream_id, {})[watcher.actor_urn] = watcher

    def remove(self, stream_id: str, watcher: Addressee) -> None:
        """Remove a watcher. Idempotent."""
        watchers = self._by_stream.get(stream_id, {})
        watchers.pop(watcher.actor_urn, None)
        if not watchers:
            self._by_stream.pop(stream_id, None)

    def tell(self, stream_id: str, message: object) -> None:
        """Send *message* to every watcher of *stream_id*."""
        for watcher in list(self._by_stream.get(stream_id, {}).values()):
            if not try_tell(watcher, message):
                self.remove(stream_id, watcher)

    def tell_all(self, message: object) -> None:
        """Send *message* to every watcher."""
        for stream_id in list(self._by_stream):
            self.tell(stream_id, message)


LISTENER_STOP = 2.0
"""Seconds to wait for the end of a thread."""

log = get_logger()


class Publisher(SupervisedActor):
    """Keeps the newest events in memory and tells subscriptions of them.

    Events come from the own writer and from the listener. It sends itself `Announce` and handles
    everything before that in its inbox first, so that several commits share one wake-up.
    """

    def __init__(self, context: Context) -> None:
        super().__init__("publisher", context.supervisor)
        self._shared = context
        self._recent = context.recent
        self._listener: Listener | None = None
        self._watchers = Watchers()
        self._looking = False
        """The listener was asked to read our writer's events, and has not sent any yet."""
        self._moved: dict[str, int] = {}
        """Version of the newest event by watched stream, not announced yet."""
        self._linked: dict[str, int] = {}
        """Version of the newest link by watched stream, not announced yet."""
        self._all_moved = False
        self._anything_moved = False
        """Any stream may have moved: every subscription has to read the storage."""
        self._announcer: Announcer | None = None
        self._deletion_no: int | None = None
        self._announce_told = False

    def setup(self) -> None:
        self._recent.clear()
        self._shared.announcements.open()
        self._announcer = Announcer(self._shared, self.actor_ref)
        self._announcer.start()
        self._listener = Listener(self._shared, self.actor_ref)
        self._listener.start()

    def receive(self, message: Any) -> None:
        match message:
            case EventsCommitted(events):
                self._committed(events)
            case EventsDeleted(done):
                self._forget()
                answer(done, None)
            case EventsLinked(versions):
                self._were_linked(versions)
            case HeadHeard(heard, events):
                self._heard(heard, events)
            case LookForEvents():
                self._look_for_events()
            case Announce():
                self._announce()
            case Watch() | Unwatch():
                self._set_watching(message)
            case ListenerDeaf(error):
                self._deaf(error)
            case ListenerFailed(error):
                raise error
            case _:
                raise TypeError(f"not for the publisher: {message!r}")

    def check_threads(self) -> None:
        """Crash if one has ended without a report."""
        for thread in (self._listener, self._announcer):
            if thread is not None and not thread.is_alive():
                raise RuntimeError(f"the thread {thread.name} is dead")

    def teardown(self, error: BaseException | None) -> None:  # noqa: ARG002 - the same for every end
        self._recent.listening = False
        if self._listener is not None:
            self._listener.end(LISTENER_STOP)
        if self._announcer is not None:
            self._announcer.end(LISTENER_STOP)

    # ── what is new ──────────────────────────────────────────────────────────────────────────

    def _committed(self, events: Sequence[StoredEvent]) -> None:
        """Take events of our writer, before or after what the listener read."""
        head = self._recent.head
        first = events[0].global_position
        if head is not None and first > head + 1:
            self._committed_behind_others(events)
        elif head is not None and first <= head and self._contradicts(events):
            self._rewound(events[0])
        else:
            self._extend(events)

    def _committed_behind_others(self, events: Sequence[StoredEvent]) -> None:
        """Let the listener read the events of another process before ours, and ours with them."""
        if self._recent.listening and self._listener is not None:
            self._looking = True
            self._listener.look()
        else:
            self._anything_moved = True
            self._extend(events)

    def _look_for_events(self) -> None:
        """Let the listener read events that somebody else may have committed just now."""
        if self._recent.watched and self._listener is not None:
            self._listener.look()

    def _contradicts(self, events: Iterable[StoredEvent]) -> bool:
        return any(self._recent.contradicts(event) for event in events)

    def _rewound(self, event: StoredEvent) -> None:
        error = HistoryRewoundError(
            f"position {event.global_position} was given out twice: the database was set back"
        )
        try_tell(self._shared.supervisor, HistoryRewound(error))

    def _heard(self, heard: Heard, events: Sequence[StoredEvent]) -> None:
        """Take what the listener read. It has no gap, neither before nor between the events."""
        self._recent.deaf = heard.deaf
        self._recent.away = False
        if heard.touched:
            self._shared.directory.tell(Child.KEEPER, Touched(heard.touched))
        if heard.unerased:
            self._shared.directory.tell(Child.KEEPER, Erase())
        if self._deletion_no is not None and heard.deletion_no > self._deletion_no:
            self._watchers.tell_all(Forget())
        self._deletion_no = heard.deletion_no
        if events or heard.reconnected:
            self._looking = False
        if heard.reconnected:
            self._start_anew(heard.head, events)
        else:
            self._extend(events)
            if heard.head > (self._recent.head or 0):
                # More events than the memory holds: the listener did not read them.
                self._recent.clear(heard.head)
                self._anything_moved = True
        self._announce_soon()

    def _start_anew(self, heard: int, newest: Sequence[StoredEvent]) -> None:
        """Start again after a reconnect: announcements before it may be lost."""
        if not self._recent.listening:
            log.info("listening", head=heard)
        self._recent.listening = True
        head = max(heard, self._recent.head or 0)
        if newest and newest[-1].global_position == head:
            self._recent.clear(head - len(newest))
            self._recent.extend(newest)
        else:
            self._recent.clear(head)
        self._anything_moved = True

    def _extend(self, events: Sequence[StoredEvent]) -> None:
        new = self._recent.extend(events)
        watched = self._watchers.streams
        if new and ALL_STREAMS in watched:
            self._all_moved = True
        if watched != {ALL_STREAMS}:
            for event in new:
                if event.stream_id in watched:
                    self._moved[event.stream_id] = event.stream_version
        if self._all_moved or self._moved:
            self._announce_soon()

    def _forget(self) -> None:
        """Forget what may have been deleted; what was appended before is in the memory by now."""
        self._recent.clear(self._recent.head)
        self._watchers.tell_all(Forget())

    def _were_linked(self, versions: Mapping[str, int]) -> None:
        """Wake those who watch a stream that events were linked to; they read the storage."""
        watched = self._watchers.streams & versions.keys()
        self._linked.update({stream_id: versions[stream_id] for stream_id in watched})
        if watched:
            self._announce_soon()

    def _deaf(self, error: EventStoreError) -> None:
        if self._recent.listening:
            log.warning("the database is away", error=str(error))
        self._recent.listening = False
        self._recent.away = True
        if self._looking:
            # The listener could not read it, so every subscription has to.
            self._looking = False
            self._anything_moved = True
            self._announce_soon()

    # ── who is told ──────────────────────────────────────────────────────────────────────────

    def _set_watching(self, message: Watch | Unwatch) -> None:
        if isinstance(message, Watch):
            self._watch(message)
        else:
            self._watchers.remove(message.stream_id, message.subscription)

    def _watch(self, message: Watch) -> None:
        self._watchers.add(message.stream_id, message.subscription)
        if not self._recent.watched:
            self._attend()
        head = self._recent.head
        # Before the first head is known there is nothing to send; then every watcher is told.
        if head is not None:
            position = self._recent.version_of(message.stream_id)
            if message.stream_id == ALL_STREAMS:
                position = head
            try_tell(message.subscription, HeadMoved(position))

    def _attend(self) -> None:
        """Begin to fill the memory, for the first subscription."""
        assert self._listener is not None
        # The writer sends commits from here on; the listener finds those before.
        self._recent.watched = True
        self._recent.clear()
        self._listener.attend()

    def _announce_soon(self) -> None:
        if not self._announce_told:
            self._announce_told = True
            self.actor_ref.tell(Announce())

    def _announce(self) -> None:
        self._announce_told = False
        if self._anything_moved:
            self._watchers.tell_all(HeadMoved(None))
        else:
            if self._all_moved:
                self._watchers.tell(ALL_STREAMS, HeadMoved(self._recent.head))
            for stream_id, version in (*self._moved.items(), *self._linked.items()):
                self._watchers.tell(stream_id, HeadMoved(version))
        self._moved.clear()
        self._linked.clear()
        self._all_moved = self._anything_moved = False
