"""A publisher and its listener that a test drives step by step, without threads.

They are the product's, over a real storage. The test decides what the listener hears.
"""

from __future__ import annotations

import queue
from typing import Any, cast

import pytest

from eventstore.client.codec import Codec
from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.ports.listening import Heard
from eventstore.ports.storage import Storage
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.announcing.listener import Listener
from eventstore_actors.announcing.publisher import Publisher
from eventstore_actors.kernel.inbox import Inbox
from eventstore_actors.kernel.messages import (
    ChildUp,
    EventsCommitted,
    HeadMoved,
    Ref,
    Touched,
    Watch,
)
from eventstore_actors.kernel.timer import Timer
from eventstore_actors.state.announcements import Announcements
from eventstore_actors.state.context import Context, Directory
from eventstore_actors.state.recent_events import RecentEvents
from tests.support.heads import ScriptedHeads
from tests.support.rooms import soon
from tests.support.waiting import PATIENCE

__all__ = ["Follower", "SteppedPublisher", "step_listeners"]

ENDLESS = 1_000
"""Most steps of anything here; more means that it never comes to rest."""


class _SteppedListener(Listener):
    """A listener without a thread: the test takes its turns."""

    def start(self) -> None:
        """Start no thread."""

    def end(self, timeout: float) -> None:
        self._heads.close()


def step_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace every publisher's listener by a stepped one, whose turns never wait."""
    monkeypatch.setattr("eventstore_actors.announcing.publisher.Listener", _SteppedListener)
    monkeypatch.setattr("eventstore_actors.announcing.listener.PAUSE", 0.0)
    monkeypatch.setattr("eventstore_actors.announcing.listener.GRACE", 0.0)


class _ScriptedStorage:
    """A storage whose listeners get their heads from `ScriptedHeads`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.heads: ScriptedHeads

    def head_listener(self) -> ScriptedHeads:
        real = self._storage.head_listener()
        # Connects it, so that it can read; the head is not passed on.
        real.wait(PATIENCE)
        self.heads = ScriptedHeads(real)
        return self.heads

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class Follower:
    """Reads as a subscription does: from memory if it holds the events, else from the storage."""

    def __init__(self, stream_id: str, recent: RecentEvents, storage: Storage, start: int) -> None:
        self.stream_id = stream_id
        self.actor_urn = f"follower of {stream_id}"
        self._recent = recent
        self._storage = storage
        self._announced: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self.position = start
        self.found: list[StoredEvent] = []

    def tell(self, message: object) -> None:
        """Receive a message from the publisher."""
        if isinstance(message, HeadMoved):
            self._announced.put(message.position)
        elif not isinstance(message, Touched):
            raise TypeError(f"unexpected message: {message!r}")

    def hear(self) -> bool:
        """Handle one announcement; return False if there is none."""
        if self._announced.empty():
            return False
        announced = self._announced.get()
        for _ in range(ENDLESS):
            if not self.read_on() and self.position >= (announced or 0):
                return True
        raise AssertionError(f"{announced} was announced and cannot be read")

    def read_on(self) -> bool:
        """Read a page; return False if it is empty."""
        page = self._recent.after(self.stream_id, self.position, 3, 60)
        if page is None:
            page = tuple(self._storage.read_after(self.stream_id, self.position, 3, 60, soon()))
        if page:
            self.found += page
            self.position = page[-1].position
        return bool(page)


class SteppedPublisher:
    """A publisher of one runtime, its listener, and the memory that they fill."""

    actor_urn = "the supervisor"

    def __init__(self, config: Config, storage: Storage, recent: RecentEvents) -> None:
        self._scripted = _ScriptedStorage(storage)
        self._shared = Context(
            config=config,
            storage=cast(Storage, self._scripted),
            codec=Codec(config.serializer),
            recent=recent,
            announcements=Announcements(),
            timer=Timer(),
            directory=Directory(),
            supervisor=cast(Ref, self),
        )
        self.start()

    def tell(self, message: object) -> None:
        """Receive a message as the supervisor; only `ChildUp` is expected."""
        assert isinstance(message, ChildUp)

    @property
    def heads(self) -> ScriptedHeads:
        return self._scripted.heads

    def start(self) -> None:
        """Start it, or restart it after a crash; unread messages are lost."""
        self._publisher = Publisher(self._shared)
        self._publisher.setup()
        self._inbox = cast(Inbox, self._publisher.actor_inbox)

    def end(self) -> None:
        self._publisher.teardown(None)

    def watch(self, follower: Follower) -> None:
        self._inbox.put(_Envelope(Watch(follower.stream_id, cast(Ref, follower))))

    def committed(self, events: tuple[StoredEvent, ...]) -> None:
        """Announce *events* as the writer does."""
        self._inbox.put(_Envelope(EventsCommitted(events)))

    def listen(self, *said: Heard | StorageUnavailableError) -> None:
        """Give the listener these heads, and let it take its turns."""
        for each in said:
            self.heads.say(each)
        listener = self._publisher._listener
        assert listener is not None
        while not self.heads.all_heard:
            listener._turn()

    def step(self) -> bool:
        """Let it handle one message; return False if there is none."""
        if self._inbox.empty():
            return False
        self._publisher.on_receive(self._inbox.get().message)
        if self._publisher.crash is not None:
            raise self._publisher.crash
        return True


class _Envelope:
    """Wraps a message as pykka does."""

    def __init__(self, message: object) -> None:
        self.message = message
