"""How many appends may wait, and the answer that each of their callers waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

import msgspec

from eventstore.model.errors import (
    OutcomeUnknownError,
    StorageUnavailableError,
    TooManyAppendsError,
)
from eventstore.ports.stored_events import Append, Committed

__all__ = ["AppendReply", "AppendRequest", "QueueLimit"]


class _Stage(Enum):
    WAITING = auto()
    """Certainly not stored."""
    SENT = auto()
    """On its way to the storage, or its outcome is not known."""
    ANSWERED = auto()
    GIVEN_UP = auto()
    """The caller's deadline passed while it waited: it must not be sent any more."""


class QueueLimit:
    """Counts the appends that are accepted and not answered; refuses rather than grows.

    Shared by all callers and the writer, and older than any one writer: a crash loses no count.
    """

    def __init__(self, max_appends: int, max_bytes: int) -> None:
        self._max_appends = max_appends
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._appends = 0
        self._bytes = 0

    @property
    def queued_appends(self) -> int:
        """Appends accepted and not answered."""
        return self._appends

    @property
    def queued_bytes(self) -> int:
        """Bytes of their payloads."""
        return self._bytes

    def admit(self, size: int) -> AppendReply:
        """Accept an append of *size* bytes; one beyond the limit only while no other waits.

        Raises:
            TooManyAppendsError: The queue is full.
        """
        self._count(size)
        return AppendReply(self, size, self._lock)

    @contextmanager
    def counted(self, size: int) -> Iterator[None]:
        """Accept an append as `admit` does; it is answered when the block ends."""
        self._count(size)
        try:
            yield
        finally:
            with self._lock:
                self._release(size)

    def _count(self, size: int) -> None:
        with self._lock:
            if self._appends >= self._max_appends:
                raise TooManyAppendsError(
                    f"{self._appends:,} appends wait, max_queued_appends is {self._max_appends:,}"
                )
            if self._appends and self._bytes + size > self._max_bytes:
                raise TooManyAppendsError(
                    f"{self._bytes:,} bytes wait and {size:,} more are too many,"
                    f" max_queued_bytes is {self._max_bytes:,}"
                )
            self._appends += 1
            self._bytes += size

    def _release(self, size: int) -> None:
        self._appends -= 1
        self._bytes -= size


class AppendReply:
    """What a caller waits for. Answered once; whoever comes later changes nothing."""

    __slots__ = ("_answered", "_limit", "_lock", "_outcome", "_size", "_stage")

    def __init__(self, limit: QueueLimit, size: int, lock: threading.Lock) -> None:
        self._limit = limit
        self._size = size
        self._lock = lock
        self._stage = _Stage.WAITING
        self._outcome: Committed | BaseException | None = None
        # A lock that is held until the answer: cheaper than a condition, 15,000 times a second.
        self._answered = threading.Lock()
        self._answered.acquire()

    def sending(self) -> bool:
        """Note that it goes to the storage now; False: the caller gave up, so it must not."""
        with self._lock:
            if self._stage is _Stage.GIVEN_UP:
                return False
            if self._stage is _Stage.WAITING:
                self._stage = _Stage.SENT
            return True

    def not_stored(self) -> None:
        """Note that nothing of it was written so far: it waits again."""
        with self._lock:
            if self._stage is _Stage.SENT:
                self._stage = _Stage.WAITING

    def answer(self, outcome: Committed | BaseException) -> None:
        """Give the caller the result, or the error to raise."""
        with self._lock:
            if self._stage in _DONE:
                return
            self._stage = _Stage.ANSWERED
            self._outcome = outcome
            self._limit._release(self._size)  # noqa: SLF001 - its other half
        self._answered.release()

    def wait(self, deadline: float) -> Committed:
        """Block until the answer, at the longest until *deadline*, a moment of `time.monotonic`.

        Raises:
            StorageUnavailableError: The deadline passed; it was not stored and will not be.
            OutcomeUnknownError: The deadline passed; it may be stored.
            EventStoreError: What the append was answered with.
        """
        if not self._answered.acquire(timeout=_seconds_until(deadline)):
            self._give_up()
        assert self._outcome is not None
        if isinstance(self._outcome, Committed):
            return self._outcome
        raise self._outcome

    def _give_up(self) -> None:
        """Raise, unless the answer came in the last moment."""
        with self._lock:
            if self._stage is _Stage.SENT:
                # The writer still holds it, so it still counts; its answer releases it.
                raise OutcomeUnknownError("the deadline passed while the append was being stored")
            if self._stage is _Stage.WAITING:
                self._stage = _Stage.GIVEN_UP
                self._limit._release(self._size)  # noqa: SLF001 - its other half
                raise StorageUnavailableError("the deadline passed while the append waited")


_DONE = (_Stage.ANSWERED, _Stage.GIVEN_UP)


def _seconds_until(deadline: float) -> float:
    return min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)


class AppendRequest(msgspec.Struct, frozen=True):
    """From a caller's thread to the writer: store this, and answer in *reply*.

    The reply comes from `QueueLimit.admit` and is answered with a `Committed` or an exception,
    even if the writer stops or fails. Who cannot tell the writer answers it himself.
    """

    append: Append
    size: int
    """Bytes of its payloads, as counted against `Config.max_queued_bytes`."""
    deadline: float
    """After this moment of `time.monotonic` nobody waits for it any more."""
    reply: AppendReply
