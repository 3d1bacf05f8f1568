"""A listener's connection that returns the heads a test gives it, and reads a real store."""

from __future__ import annotations

import queue
from collections.abc import Callable
from uuid import UUID

from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.ports.listening import HeadListener, Heard, KnownEvent, LinkedStream
from eventstore.ports.stored_events import StoredEvent
from eventstore.storages.memory import MemoryStorage

_WOKEN = object()


class ScriptedHeads:
    """Returns the heads given to `say`, and no others. Reads go to the real store."""

    def __init__(self, real: HeadListener) -> None:
        self._real = real
        self._said: queue.Queue[object] = queue.Queue()
        self._last = Heard(head=0, reconnected=False)
        self.reads: list[int] = []
        """The position after which each read began."""
        self.prompt: bool | None = None
        """The argument `prompt` of the last call."""
        self.known: KnownEvent | None = None
        """The argument `known` of the last call."""
        self.before_reading: Callable[[], object] = lambda: None
        self.closed = False

    def say(self, heard: Heard | BaseException) -> None:
        self._said.put(heard)

    @property
    def all_heard(self) -> bool:
        """The listener has taken everything given to `say`."""
        return self._said.empty()

    @staticmethod
    def lose_connection() -> None:
        raise away()

    def wait(
        self, timeout: float, *, prompt: bool = True, known: KnownEvent | None = None
    ) -> Heard:
        self.prompt, self.known = prompt, known
        said = self._said.get()
        if isinstance(said, BaseException):
            raise said
        if isinstance(said, Heard):
            self._last = said
        return Heard(self._last.head, reconnected=False) if said is _WOKEN else said  # type: ignore[return-value]

    def read_all(
        self, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        self.reads.append(after)
        self.before_reading()
        return self._real.read_all(after, count, max_bytes, deadline)

    def linked(self, after: int, count: int, deadline: float) -> list[LinkedStream]:
        return self._real.linked(after, count, deadline)

    def wake(self) -> None:
        self._said.put(_WOKEN)

    def close(self) -> None:
        self.closed = True
        self._real.close()


class ScriptedHeadsStorage(MemoryStorage):
    """A store in memory whose listeners follow a script."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.heads: list[ScriptedHeads] = []

    def head_listener(self) -> ScriptedHeads:  # type: ignore[override]
        self.heads.append(ScriptedHeads(super().head_listener()))
        return self.heads[-1]


def connected(head: int) -> Heard:
    return Heard(head, reconnected=True)


def moved(head: int) -> Heard:
    return Heard(head, reconnected=False)


def looked(head: int, newest: UUID) -> Heard:
    return Heard(head, reconnected=False, newest=newest)


def touched(head: int, *subscriptions: int) -> Heard:
    return Heard(head, reconnected=False, touched=frozenset(subscriptions or {1}))


def away() -> StorageUnavailableError:
    return StorageUnavailableError("the database cannot be reached")
