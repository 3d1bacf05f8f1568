"""An application with actors of its own: a parent that is told when its store fails."""

from __future__ import annotations

import ctypes
import queue
import threading
from itertools import count
from types import TracebackType
from typing import Any, Self

import pykka

from eventstore import Config, EventData, EventStore, EventStoreError, ExpectedVersion
from eventstore_actors import StoreSupervisor
from eventstore_actors.kernel.messages import Child, Ref
from eventstore_actors.state.store_state import StoreState, state_of
from tests.support.waiting import PATIENCE, wait_until

NONSENSE = "a message that none of the actors can handle"


class Parent(pykka.ThreadingActor):
    """Writes down what it is told."""

    def __init__(self, told: queue.SimpleQueue[Any]) -> None:
        super().__init__()
        self._told = told

    def on_receive(self, message: Any) -> None:
        self._told.put(message)


class Application:
    """Starts a supervisor under a parent; in the end stops whatever is left of them."""

    def __init__(self, config: Config, *, init: bool = True) -> None:
        self.told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.parent = Parent.start(self.told)
        self.supervisor: Ref = StoreSupervisor.start(config, self.parent, init=init)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.supervisor.stop(timeout=60)
        self.parent.stop(timeout=PATIENCE)

    @property
    def tree(self) -> StoreState:
        tree = state_of(self.supervisor)
        assert tree is not None
        return tree

    def attach(self) -> EventStore:
        return EventStore.attach(self.supervisor, timeout=PATIENCE)

    def crash(self, child: Child) -> None:
        """Crash *child* and wait until another one is in its place."""
        before = self.find(child)
        before.tell(NONSENSE)
        wait_until(lambda: self.tree.directory.find(child) not in {None, before})

    def find(self, child: Child) -> Ref:
        wait_until(lambda: self.tree.directory.find(child))
        found = self.tree.directory.find(child)
        assert found is not None
        return found


def append_one(store: EventStore, number: int, stream_id: str = "numbers") -> None:
    store.append_to_stream(stream_id, ExpectedVersion.ANY, [EventData("Number", {"n": number})])


class Load:
    """Threads that append until they are refused or told to stop."""

    def __init__(self, store: EventStore, threads: int) -> None:
        self._store = store
        self._numbers = count(1)
        self._enough = threading.Event()
        self.answers: list[EventStoreError | None] = []
        """What each append was answered with: None is a success."""
        self.threads = [threading.Thread(target=self._append) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def progress(self, appends: int) -> None:
        """Wait until so many more appends were answered."""
        wanted = len(self.answers) + appends
        wait_until(lambda: len(self.answers) >= wanted)

    def end(self) -> list[EventStoreError | None]:
        """Let every thread end after its next answer; all the answers."""
        self._enough.set()
        return self.wait()

    def wait(self) -> list[EventStoreError | None]:
        """Wait until every thread was refused for good; all the answers."""
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a caller was never answered"
        return self.answers

    def _append(self) -> None:
        while not self._enough.is_set():
            answer = self._append_one(next(self._numbers))
            self.answers.append(answer)
            if answer is not None and not answer.retryable:
                return

    def _append_one(self, number: int) -> EventStoreError | None:
        try:
            append_one(self._store, number, f"load-{number % 7}")
        except EventStoreError as error:
            return error
        return None


def raise_in_thread(name: str, error: type[BaseException]) -> None:
    """Raise *error* in the thread of that name, wherever it is."""
    (thread,) = (thread for thread in threading.enumerate() if thread.name == name)
    raise_in(thread, error)


def raise_in_threads(name: str, error: type[BaseException]) -> None:
    """Raise *error* in every thread of that name, of which there is one at least."""
    found = [thread for thread in threading.enumerate() if thread.name == name]
    assert found
    for thread in found:
        raise_in(thread, error)


def raise_in(thread: threading.Thread, error: type[BaseException]) -> None:
    """Raise *error* in *thread*, as soon as it runs Python code."""
    assert thread.ident is not None
    set_error = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert set_error(ctypes.c_ulong(thread.ident), ctypes.py_object(error)) == 1
