"""The caller's side of an append: commits in the caller's thread, or hands over to the writer."""

from __future__ import annotations

import time

from eventstore.model.errors import (
    EventStoreError,
    NotRunningError,
    OutcomeUnknownError,
    StorageUnavailableError,
    TooManyAppendsError,
)
from eventstore.ports.runtime import LAST_CHANCE
from eventstore.ports.storage import AppendSession
from eventstore.ports.stored_events import Append, Committed, payload_bytes
from eventstore.ports.waits import BLOCKING, Waits, run_blocking
from eventstore_actors.appending.attempt import attempt_deadline, attempt_timeout
from eventstore_actors.appending.commit_plan import stored_events
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Child, EventsCommitted, Ref
from eventstore_actors.state.append_queue import AppendRequest
from eventstore_actors.state.store_state import Phase, StoreState

__all__ = ["CallerAppender"]

_RETRIED = (OutcomeUnknownError, StorageUnavailableError, NotRunningError)
"""Answers after which an append is sent again, if its writer crashed."""

_RESTART_POLL = 0.005
"""Poll interval for a writer that is being restarted, in seconds."""


class CallerAppender:
    """Appends for the callers of one store: threads, which may commit themselves, and coroutines.

    Both retry with the same event ids after a lost answer or a writer's crash. The errors are those
    that the facade documents: AppendError, OutcomeUnknownError, StorageUnavailableError,
    NotRunningError.
    """

    def __init__(self, tree: StoreState) -> None:
        self._tree = tree

    def append(self, append: Append, deadline: float) -> Committed:
        """Store *append*, and block until it is stored.

        Threads wait without a coroutine while all goes well: one costs them a tenth of 100 callers'
        throughput.
        """
        size = _size(append)
        maybe_stored: OutcomeUnknownError | None = None
        try:
            outcome = self._append_alone(append, size, deadline)
        except OutcomeUnknownError as error:
            if deadline - time.monotonic() <= LAST_CHANCE:
                raise
            maybe_stored = error
        else:
            if outcome is not None:
                return outcome
        request = self._admitted(append, size, deadline, BLOCKING, maybe_stored)
        writer = self._told_writer(request)
        try:
            if writer is not None:
                return request.reply.block(deadline)
        except _RETRIED as error:
            return run_blocking(self._go_on(request, writer, BLOCKING, maybe_stored, error))
        return run_blocking(self._go_on(request, None, BLOCKING, maybe_stored, None))

    async def append_waiting(self, append: Append, deadline: float, waits: Waits) -> Committed:
        """Have the writer store *append*, and wait as *waits* does."""
        request = self._admitted(append, _size(append), deadline, waits, None)
        writer = self._told_writer(request)
        try:
            if writer is not None:
                return await request.reply.wait(deadline)
        except _RETRIED as error:
            return await self._go_on(request, writer, waits, None, error)
        return await self._go_on(request, None, waits, None, None)

    def _admitted(
        self,
        append: Append,
        size: int,
        deadline: float,
        waits: Waits,
        maybe_stored: OutcomeUnknownError | None,
    ) -> AppendRequest:
        """Return a request for *append*; if the queue is full, what is *maybe_stored* counts."""
        try:
            reply = self._tree.queue.admit(size, waits.signal())
        except TooManyAppendsError as error:
            raise maybe_stored or error from None
        return AppendRequest(append, size, deadline, reply)

    def _told_writer(self, request: AppendRequest) -> Ref | None:
        """Send *request* to the writer; return the writer, None if there is none."""
        writer = self._tree.directory.find(Child.WRITER)
        told = self._tree.failure is None and try_tell(writer, request)
        return writer if told else None

    async def _go_on(
        self,
        request: AppendRequest,
        writer: Ref | None,
        waits: Waits,
        maybe_stored: OutcomeUnknownError | None,
        error: EventStoreError | None,
    ) -> Committed:
        """Go on with *request* after the *error* that *writer* answered; None: it was not told."""
        deadline = request.deadline
        while True:
            if error is not None:
                if isinstance(error, OutcomeUnknownError):
                    maybe_stored = error
                if not self._has_crashed(writer) or not await _paused(deadline, waits):
                    raise maybe_stored or error
                append, size = request.append, request.size
                request = self._admitted(append, size, deadline, waits, maybe_stored)
            writer = None
            try:
                writer = await self._tell_next_writer(request, waits)
                return await request.reply.wait(deadline)
            except _RETRIED as failure:
                error = failure

    def _append_alone(self, append: Append, size: int, deadline: float) -> Committed | None:
        """Commit in this thread if no other append is under way.

        Returns:
            None if the append was not stored and must go through the writer.

        Raises:
            AppendError: The append was refused.
            OutcomeUnknownError: The append may be stored.
        """
        tree = self._tree
        if not self._has_writer() or tree.queue.queued_appends or tree.turn.shared:
            return None
        with tree.queue.counted(size), tree.turn.caller_turn() as session:
            return None if session is None else self._send(session, append, size, deadline)

    def _send(
        self, session: AppendSession, append: Append, size: int, deadline: float
    ) -> Committed | None:
        tree = self._tree
        timeout = attempt_timeout(size, tree.config.connect_timeout)
        until = attempt_deadline(deadline, time.monotonic(), timeout)
        tree.turn.pulse.until = until
        tree.recent.writing = True
        try:
            (outcome,) = session.append([append], until)
        except OutcomeUnknownError:
            raise
        except Exception:  # noqa: BLE001 - nothing was stored; the writer retries and reports
            return None
        finally:
            tree.recent.writing = False
        if not isinstance(outcome, Committed):
            raise outcome
        # An append of checks alone stores nothing.
        if not outcome.repeated and any(part.events for part in append):
            tree.announcements.note_events()
            if tree.recent.watched:
                committed = EventsCommitted(tuple(stored_events(append, outcome)))
                tree.directory.tell(Child.PUBLISHER, committed)
        return outcome

    async def _tell_next_writer(self, request: AppendRequest, waits: Waits) -> Ref:
        """Send *request* to the writer, after its restart if need be; return the writer."""
        try:
            while self._tree.failure is None:
                if (writer := self._told_writer(request)) is not None:
                    return writer
                if self._tree.phase is not Phase.UP or not await _paused(request.deadline, waits):
                    break
        except BaseException as interruption:
            request.reply.answer(interruption)
            raise
        reason = self._refusal()
        # No writer has the request, so it is answered here; else it would count for ever.
        request.reply.answer(reason)
        raise reason

    def _has_writer(self) -> bool:
        tree = self._tree
        is_up = tree.phase is Phase.UP and tree.failure is None
        return is_up and tree.directory.find(Child.WRITER) is not None

    def _refusal(self) -> BaseException:
        if self._tree.phase is Phase.UP:
            return StorageUnavailableError("the deadline passed while the writer restarted")
        return self._tree.reason()

    def _has_crashed(self, writer: Ref | None) -> bool:
        """Return whether *writer* is dead and will be restarted."""
        return writer is not None and not writer.is_alive() and self._tree.phase is Phase.UP


async def _paused(deadline: float, waits: Waits) -> bool:
    """Wait for one poll interval; return False, at once, if *deadline* would pass."""
    if time.monotonic() + _RESTART_POLL >= deadline:
        return False
    await waits.pause(_RESTART_POLL)
    return True


def _size(append: Append) -> int:
    return sum([payload_bytes(part.events) for part in append])
