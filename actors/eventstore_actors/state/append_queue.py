"""A queued append, the reply its caller waits for, and the limit on how many are queued."""

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
from eventstore.ports.waits import Signal

__all__ = ["AppendReply", "AppendRequest", "QueueLimit"]


class AppendRequest(msgspec.Struct, frozen=True):
    """From a caller's thread to the writer: store this append."""

    append: Append
    size: int
    """Bytes of its payloads, as counted against `Config.max_queued_bytes`."""
    deadline: float
    """When the caller stops waiting, on `time.monotonic`."""
    reply: AppendReply
    """From `QueueLimit.admit`. Always answered, even if the writer stops or fails.

    A caller that cannot reach the writer answers it itself.
    """


class _Stage(Enum):
    WAITING = auto()
    """Not stored."""
    SENT = auto()
    """Sent to the storage; the outcome is not known."""
    ANSWERED = auto()
    GIVEN_UP = auto()
    """The caller's deadline passed while the append waited: it must not be sent."""


_DONE = (_Stage.ANSWERED, _Stage.GIVEN_UP)


class AppendReply:
    """The result that a caller waits for. Answered once; later answers are no-ops."""

    __slots__ = ("_answered", "_limit", "_lock", "_outcome", "_size", "_stage")

    def __init__(
        self, limit: QueueLimit, size: int, lock: threading.Lock, answered: Signal
    ) -> None:
        self._limit = limit
        self._size = size
        self._lock = lock
        self._stage = _Stage.WAITING
        self._outcome: Committed | BaseException | None = None
        self._answered = answered

    def begin_sending(self) -> bool:
        """Note that the append is sent to the storage now.

        Returns:
            False if the caller has given up; then it must not be sent.
        """
        with self._lock:
            if self._stage is _Stage.GIVEN_UP:
                return False
            if self._stage is _Stage.WAITING:
                self._stage = _Stage.SENT
            return True

    def wait_again(self) -> None:
        """Note that the append was not stored and waits for another attempt."""
        with self._lock:
            if self._stage is _Stage.SENT:
                self._stage = _Stage.WAITING

    def answer(self, outcome: Committed | BaseException) -> None:
        """Set the result, or the error for the caller to raise."""
        with self._lock:
            if self._stage in _DONE:
                return
            self._stage = _Stage.ANSWERED
            self._outcome = outcome
            self._limit._release(self._size)  # noqa: SLF001 - its other half
        self._answered.set()

    async def wait(self, deadline: float) -> Committed:
        """Wait until the answer, or until *deadline* on `time.monotonic`.

        Raises:
            StorageUnavailableError: The deadline passed; the append is not and will not be stored.
            OutcomeUnknownError: The deadline passed; the append may be stored.
            EventStoreError: The error that the append was answered with.
        """
        try:
            in_time = await self._answered.wait(deadline - time.monotonic())
        except BaseException as interruption:
            self._interrupted(interruption)
            raise
        return self._result(in_time=in_time)

    def block(self, deadline: float) -> Committed:
        """Do what `wait` does, and block the thread; for a reply with a signal of `BLOCKING`."""
        try:
            in_time = self._answered.block(deadline - time.monotonic())
        except BaseException as interruption:
            self._interrupted(interruption)
            raise
        return self._result(in_time=in_time)

    def _result(self, *, in_time: bool) -> Committed:
        if not in_time:
            self._give_up()
        assert self._outcome is not None
        if isinstance(self._outcome, Committed):
            return self._outcome
        raise self._outcome

    def _give_up(self) -> None:
        """Raise the error of a deadline that passed; return if the answer came just now."""
        with self._lock:
            if self._stage is _Stage.SENT:
                # The writer still holds the append, so it counts until the writer's answer.
                raise OutcomeUnknownError("the deadline passed while the append was being stored")
            if self._stage is _Stage.WAITING:
                self._stage = _Stage.GIVEN_UP
                self._limit._release(self._size)  # noqa: SLF001 - its other half
                raise StorageUnavailableError("the deadline passed while the append was queued")

    def _interrupted(self, interruption: BaseException) -> None:
        """Give up because the caller was cancelled, or by Ctrl-C; say what became of the append."""
        try:
            self._give_up()
        except StorageUnavailableError:
            note = "the append was not sent and will not be stored"
        except OutcomeUnknownError:
            note = "the append may be stored; repeat it with the same event ids"
        else:
            stored = isinstance(self._outcome, Committed)
            note = "the append is stored" if stored else f"the append was refused: {self._outcome}"
        interruption.add_note(note)


class QueueLimit:
    """Bounds the appends that are accepted and not yet answered; refuses those beyond the limit.

    Shared by all callers and the writer. It outlives the writer, so a crash loses no count.
    """

    def __init__(self, max_appends: int, max_bytes: int) -> None:
        self._max_appends = max_appends
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._appends = 0
        self._bytes = 0

    @property
    def queued_appends(self) -> int:
        """Appends accepted and not yet answered."""
        return self._appends

    @property
    def queued_bytes(self) -> int:
        """Payload bytes of the queued appends."""
        return self._bytes

    def admit(self, size: int, answered: Signal) -> AppendReply:
        """Accept an append of *size* bytes. One larger than the limit is accepted if it is alone.

        Args:
            size: Bytes of its payloads.
            answered: Wakes the caller.

        Raises:
            TooManyAppendsError: The queue is full.
        """
        self._count(size)
        return AppendReply(self, size, self._lock, answered)

    @contextmanager
    def counted(self, size: int) -> Iterator[None]:
        """Accept an append as `admit` does, for the time of the block."""
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
                    f"{self._appends:,} appends are queued,"
                    f" max_queued_appends is {self._max_appends:,}"
                )
            if self._appends and self._bytes + size > self._max_bytes:
                raise TooManyAppendsError(
                    f"{self._bytes:,} bytes are queued and {size:,} more are too many,"
                    f" max_queued_bytes is {self._max_bytes:,}"
                )
            self._appends += 1
            self._bytes += size

    def _release(self, size: int) -> None:
        self._appends -= 1
        self._bytes -= size
