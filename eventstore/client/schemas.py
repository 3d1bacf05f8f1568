"""The stores of a database that share connections: one object for each schema."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from eventstore.model.checks import shown
from eventstore.model.config import Config
from eventstore.model.errors import NotRunningError
from eventstore.model.serializer import Types
from eventstore.ports.runtime import Runtime

__all__ = ["Schemas"]


class _Closable(Protocol):
    def close(self, timeout: float | None = None) -> None: ...


Store = TypeVar("Store", bound=_Closable)


class Schemas(Generic[Store]):
    """The first store, and those that were opened beside it. Used from any thread."""

    def __init__(self, first: Store, runtime: Runtime) -> None:
        """Begin with the first store alone.

        Args:
            first: Its end is the end of all.
            runtime: Runs it; the others run on runtimes of the same class.
        """
        self._first = first
        self._runtime = runtime
        self._open = {runtime.config.schema: (first, runtime)}
        self._lock = threading.Lock()
        self._opening: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._closed = False

    def store(
        self, schema: str, types: Types | None, made: Callable[[Runtime], Store], *, init: bool
    ) -> Store:
        """Return the store of *schema*; open it unless it is open.

        Args:
            schema: Its name.
            types: Its payload classes; None: those of the first store.
            made: Makes the store that a runtime runs.
            init: Install or migrate the schema.

        Raises:
            NotRunningError: The first store is closed.
            TypeError, ValueError: An argument is invalid, or the store is open with other types.
            EventStoreError: As `Runtime.start` raises it.
        """
        first = self._runtime.config
        config = replace(first, schema=schema, types=first.types if types is None else types)
        with self._lock:
            opening = self._opening[config.schema]
        # Another schema does not wait for one that cannot be opened.
        with opening:
            found = self._found(config, any_types=types is None)
            return found or self._opened(config, made, init=init)

    @contextmanager
    def closing(self, store: Store, deadline: float) -> Iterator[None]:
        """Let go of *store*, which is closed in the block. With the first one, close the others.

        They stop at the same time, and are waited for after the block, until *deadline*.
        """
        others = self._leave(store)
        for _, runtime in others:
            runtime.stop_by(deadline)
        with ExitStack() as closing:
            for other, _ in others:
                closing.callback(_close, other, deadline)
            yield

    def ended_by(self, store: Store) -> list[Runtime]:
        """Return the runtimes that end when *store* is closed, besides its own."""
        with self._lock:
            return [runtime for _, runtime in self._others(store)]

    def _found(self, config: Config, *, any_types: bool) -> Store | None:
        with self._lock:
            if self._closed:
                raise NotRunningError("the first store is closed")
            found = self._open.get(config.schema)
        if found is None:
            return None
        store, runtime = found
        if not any_types and runtime.config.types != config.types:
            raise ValueError(
                f"types must be None, or those with which schema {shown(config.schema)} is open,"
                f" {shown(runtime.config.types)}: {shown(config.types)}"
            )
        return store

    def _opened(self, config: Config, made: Callable[[Runtime], Store], *, init: bool) -> Store:
        runtime = type(self._runtime).start(config, init=init, beside=self._runtime.storage)
        try:
            store = made(runtime)
        except BaseException:
            runtime.close(config.stop_timeout)
            raise
        with self._lock:
            if not self._closed:
                self._open[config.schema] = store, runtime
                return store
        store.close(0.0)
        raise NotRunningError("the first store is closed")

    def _leave(self, store: Store) -> list[tuple[Store, Runtime]]:
        with self._lock:
            if store is self._first:
                self._closed = True
                return self._others(store)
            self._open = {
                schema: each for schema, each in self._open.items() if each[0] is not store
            }
            return []

    def _others(self, store: Store) -> list[tuple[Store, Runtime]]:
        if store is not self._first:
            return []
        return [each for each in self._open.values() if each[0] is not store]


def _close(store: _Closable, deadline: float) -> None:
    store.close(max(0.0, deadline - time.monotonic()))
