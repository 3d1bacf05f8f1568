"""The threads that run actors. An actor has one only while it has messages."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable

from eventstore.model.log import get_logger

__all__ = ["WORKERS", "Work", "Workers"]

Work = Callable[[], object]
"""Is called again if an exception that is not its own hits its thread."""

LINGER = 10.0
"""Seconds after which a thread without work ends."""

IDLE = "eventstore-idle"
"""Name of a thread without work."""

log = get_logger()


class Workers:
    """Threads that are lent to actors, as many as have work at the same time; thread-safe.

    The thread that became idle last is lent first, so that those that are not needed end. When the
    last actor has ended, all of them end at once.
    """

    def __init__(self, linger: float = LINGER) -> None:
        """Create it without a thread; each ends after *linger* seconds without work."""
        self._linger = linger
        self.forget()

    def forget(self) -> None:
        """Forget everything: a child after a fork has none of the threads and actors."""
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._waiting: deque[Work] = deque()
        self._actors = 0
        self._threads: set[_Worker] = set()

    def actor_started(self) -> None:
        with self._lock:
            self._actors += 1

    def actor_ended(self) -> None:
        """Have every idle thread end, if that was the last actor."""
        with self._lock:
            self._actors -= 1
            idle = [] if self._actors else list(self._idle)
            self._idle = self._idle if self._actors else []
        for worker in idle:
            worker.begin(None)

    def run(self, work: Work) -> None:
        """Have a thread do *work*: an idle one, else a new one, else the one that is idle next.

        Raises:
            RuntimeError: There is no thread, and the process cannot start one.
        """
        with self._lock:
            idle = self._idle.pop() if self._idle else None
            if idle is None:
                self._threads.add(worker := _Worker(self, work))
        if idle is not None:
            idle.begin(work)
            return
        try:
            worker.start()
        except RuntimeError:
            with self._lock:
                self._threads.remove(worker)
                if not self._threads:
                    raise
                idle = self._idle.pop() if self._idle else None
                if idle is None:
                    self._waiting.append(work)
            if idle is not None:
                idle.begin(work)

    def wait_ended(self, timeout: float) -> None:
        """Block for up to *timeout* seconds until the threads have ended, if no actor is left."""
        deadline = time.monotonic() + timeout
        with self._lock:
            ending = set() if self._actors else set(self._threads)
        for worker in ending - {threading.current_thread()}:
            worker.join(max(0.0, deadline - time.monotonic()))

    # ── for the threads ──────────────────────────────────────────────────────────────────────

    def await_work(self, worker: _Worker) -> None:
        """Block until *worker* has been given work, or is to end."""
        with self._lock:
            if self._waiting:
                worker.work = self._waiting.popleft()
                return
            if not self._actors:
                return
            self._idle.append(worker)
        if not worker.wait(self._linger) and not self._dismiss(worker):
            # It was lent at that very moment.
            worker.wait(-1)

    def thread_ended(self, worker: _Worker) -> None:
        """Note the end of a thread, and have another one do what is left of its work."""
        with self._lock:
            self._threads.discard(worker)
            # It may have been the one that was to do what no new thread could be started for.
            waiting = self._waiting.popleft() if self._waiting and not self._threads else None
        if not self._dismiss(worker) and worker.work is not None:
            self.run(worker.work)
        if waiting is not None:
            self.run(waiting)

    def _dismiss(self, worker: _Worker) -> bool:
        """Stop lending *worker*; return False if it was not idle any more."""
        with self._lock:
            if worker not in self._idle:
                return False
            self._idle.remove(worker)
        return True


class _Worker(threading.Thread):
    """One of the threads."""

    def __init__(self, workers: Workers, work: Work) -> None:
        super().__init__(name=IDLE, daemon=True)
        self._workers = workers
        self.work: Work | None = work
        """What it does, or is to do next; None: nothing."""
        self._begun = threading.Lock()
        self._begun.acquire()

    def begin(self, work: Work | None) -> None:
        """End the wait of the thread, with *work* or to end it."""
        self.work = work
        self._begun.release()

    def wait(self, seconds: float) -> bool:
        """Block until `begin` was called; return False after *seconds*; -1: never."""
        return self._begun.acquire(timeout=seconds)

    def run(self) -> None:
        try:
            while self.work is not None:
                self._do()
        except BaseException as error:
            log.exception("thread crashed", thread=self.name, error=repr(error))
        finally:
            self._workers.thread_ended(self)

    def _do(self) -> None:
        assert self.work is not None
        self.work()
        # Not before: until it is done, another thread must do it again.
        self.work = None
        self.name = IDLE
        self._workers.await_work(self)


WORKERS = Workers()
"""Those of the process: they cost nothing while no actor lives, and stores share them."""

os.register_at_fork(after_in_child=WORKERS.forget)
