"""Threads that append concurrently, each to its own share of the streams."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self
from zlib import crc32

from eventstore import EventStore
from eventstore_actors.demo.history import Happening

__all__ = ["Writers", "Writing"]


class _Writer:
    """Appends event by event, and keeps the versions of its own streams."""

    def __init__(self, store: EventStore, stopped: threading.Event) -> None:
        self._store = store
        self._stopped = stopped
        self._versions: defaultdict[str, int] = defaultdict(int)
        self.written = 0

    def write(self, happenings: Sequence[Happening]) -> None:
        for happening in happenings:
            if self._stopped.is_set():
                return
            stream_id = happening.stream_id
            expected = self._versions[stream_id]
            result = self._store.append_to_stream(stream_id, expected, [happening.event()])
            self._versions[stream_id] = result.last_version
            self.written += 1


class Writing:
    """The progress of appends that run in the writers' threads."""

    def __init__(
        self,
        threads: ThreadPoolExecutor,
        writers: Sequence[_Writer],
        shares: Sequence[Sequence[Happening]],
    ) -> None:
        """Start the appends, one share for each writer."""
        self.total = sum(map(len, shares))
        self._writers = writers
        self._before = self._sum()
        self._begun = self._newest = time.monotonic()
        self._futures: list[Future[None]] = []
        for writer, share in zip(writers, shares, strict=True):
            future = threads.submit(writer.write, share)
            future.add_done_callback(self._note_time)
            self._futures.append(future)

    @property
    def written(self) -> int:
        """Events stored so far."""
        return self._sum() - self._before

    @property
    def seconds(self) -> float:
        """Seconds from the start to the end, or to now while it runs."""
        running = any(not future.done() for future in self._futures)
        return (time.monotonic() if running else self._newest) - self._begun

    def finished(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds; return whether all events are stored.

        Raises:
            EventStoreError: An append failed.
        """
        done, running = wait(self._futures, timeout, FIRST_EXCEPTION)
        for future in done:
            future.result()
        return not running

    def _sum(self) -> int:
        return sum(writer.written for writer in self._writers)

    def _note_time(self, _: Future[None]) -> None:
        self._newest = time.monotonic()


class Writers:
    """A fixed number of writer threads; a context manager that stops them at exit."""

    def __init__(self, store: EventStore, count: int) -> None:
        self._stopped = threading.Event()
        self._writers = [_Writer(store, self._stopped) for _ in range(count)]
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="writer")

    def write(self, happenings: Sequence[Happening]) -> Writing:
        """Start to append *happenings*: in order per stream, concurrently across streams."""
        shares: list[list[Happening]] = [[] for _ in self._writers]
        for happening in happenings:
            shares[crc32(happening.stream_id.encode()) % len(shares)].append(happening)
        return Writing(self._threads, self._writers, shares)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
