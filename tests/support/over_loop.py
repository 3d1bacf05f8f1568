"""`AsyncEventStore` with the calls of `EventStore`: so one suite of tests proves both surfaces."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import psycopg
import pykka

from eventstore import AsyncEventStore, AsyncSubscription, Config, Events
from tests.support.waiting import PATIENCE

__all__ = ["LoopThread", "connect_over", "driver_over"]


class LoopThread:
    """An event loop that runs in a thread of its own, in debug mode."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_debug(True)
        self._thread = threading.Thread(target=self.loop.run_forever, name="loop", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return what *coroutine* returns, from another thread, whose context it inherits."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def close(self) -> None:
        """Stop the loop; nothing that this project started may be left in it."""
        self.run(asyncio.sleep(0))
        left = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()
        assert not left, left


def connect_over(loop: LoopThread, config: Config) -> Any:
    """Connect over *loop*; return a store with the methods of `EventStore`."""

    async def connect() -> AsyncEventStore:
        return await AsyncEventStore.connect(config)

    return _Surface(loop, loop.run(connect()))


def driver_over(loop: LoopThread, dsn: str) -> Any:
    """Connect psycopg over *loop*; return a connection with the methods of `psycopg.Connection`."""
    return _Surface(loop, loop.run(psycopg.AsyncConnection.connect(dsn)))


class _Running:
    """A loop that somebody else runs in a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class _Surface:
    """An object of the surface for coroutines, seen as its counterpart for threads."""

    def __init__(self, loop: LoopThread | _Running, over: Any) -> None:
        self.__dict__.update(_loop=loop, _over=over)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._over, name)
        return self._called(found) if inspect.ismethod(found) else found

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._over)

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        try:
            return self._loop.run(anext(self._over))
        except StopAsyncIteration:
            raise StopIteration from None

    def __eq__(self, other: object) -> bool:
        """Compare the handle of a subscription with the one that actors get; others with theirs."""
        if isinstance(other, _Surface):
            return bool(self._over == other._over)
        return bool(self._over._handle == other)

    __hash__ = None  # type: ignore[assignment]

    def _called(self, method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            arguments = [_on_loop(each) for each in args]
            named = {key: _on_loop(each, key) for key, each in kwargs.items()}

            async def on_loop() -> Any:
                found = method(*arguments, **named)
                return await found if inspect.iscoroutine(found) else found

            found = self._loop.run(on_loop())
            is_over = isinstance(found, AsyncEventStore | AsyncSubscription | AsyncIterator)
            return _Surface(self._loop, found) if is_over else found

        return call


def _on_loop(argument: Any, name: str = "subscriber") -> Any:
    """Return a coroutine function in place of a plain one that subscribes."""
    if isinstance(argument, _Surface):
        return argument._over
    is_plain = inspect.isfunction(argument) or inspect.ismethod(argument)
    if name != "subscriber" or not is_plain or isinstance(argument, pykka.ActorRef):
        return argument
    if inspect.iscoroutinefunction(argument):
        return argument

    async def handler(events: Events, *connection: Any) -> Any:
        # In a thread: handlers of the suite block, and call the store.
        over = [_Surface(_Running(asyncio.get_running_loop()), each) for each in connection]
        return await asyncio.to_thread(argument, events, *over)

    return handler
