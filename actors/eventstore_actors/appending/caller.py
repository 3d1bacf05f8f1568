"""The caller's side of an append: hands it to the writer, whichever there is, and waits."""

from __future__ import annotations

import time

from eventstore.model.errors import (
    EventStoreError,
    NotRunningError,
    OutcomeUnknownError,
    StorageUnavailableError,
    TooManyAppendsError,
)
from eventstore.ports.storage import Append, AppendSession, Committed, payload_bytes
from eventstore_actors.appending.attempt import LAST_CHANCE, attempt_until, patience_with
from eventstore_actors.appending.commit_plan import stored_events
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Child, EventsCommitted, Ref
from eventstore_actors.state.append_queue import AppendRequest
from eventstore_actors.state.store_state import Phase, StoreState

__all__ = ["CallerAppender"]

_RESTART_POLL = 0.005
"""Seconds between two looks whether the next writer is there."""


class CallerAppender:
    """Appends for the callers of one store, in their own threads."""

    def __init__(self, tree: StoreState) -> None:
        self._tree = tree

    def append(self, append: Append, deadline: float) -> Committed:
        """Store *append*, or have it stored; again, with the same ids, if that failed.

        Raises:
            AppendError, OutcomeUnknownError, StorageUnavailableError, NotRunningError: As the
                facade documents them.
        """
        size = sum(payload_bytes(part.events) for part in append)
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
        while True:
            writer: Ref | None = None
            try:
                request = AppendRequest(append, size, deadline, self._tree.queue.admit(size))
                writer = self._tell_writer(request)
                return request.reply.wait(deadline)
            except OutcomeUnknownError as error:
                maybe_stored = error
                reason: EventStoreError = error
            except (StorageUnavailableError, TooManyAppendsError, NotRunningError) as error:
                reason = maybe_stored or error
            if not self._has_crashed(writer) or not _pause_until(deadline):
                raise reason

    def _append_alone(self, append: Append, size: int, deadline: float) -> Committed | None:
        """Do what the writer would do, if nobody else wants to append; None: the writer has to.

        Raises:
            AppendError: It was refused.
            OutcomeUnknownError: It may be stored.
        """
        tree = self._tree
        if not self._has_writer() or tree.queue.queued_appends or tree.turn.shared:
            return None
        with tree.queue.counted(size), tree.turn.of_a_caller() as session:
            return None if session is None else self._send(session, append, size, deadline)

    def _send(
        self, session: AppendSession, append: Append, size: int, deadline: float
    ) -> Committed | None:
        tree = self._tree
        patience = patience_with(size, tree.config.connect_timeout)
        until = attempt_until(deadline, time.monotonic(), patience)
        tree.recent.writing = True
        try:
            (outcome,) = session.append([append], until)
        except OutcomeUnknownError:
            raise
        except Exception:  # noqa: BLE001 - the writer tries it again, and says what became of it
            return None
        finally:
            tree.recent.writing = False
        if not isinstance(outcome, Committed):
            raise outcome
        watched = tree.recent.watched and not outcome.repeated
        # An append of checks alone stores nothing.
        if watched and (stored := tuple(stored_events(append, outcome))):
            tree.directory.tell(Child.PUBLISHER, EventsCommitted(stored))
        return outcome

    def _tell_writer(self, request: AppendRequest) -> Ref:
        """Tell the writer, or the next one if it is being restarted; return which one."""
        while self._tree.failure is None:
            writer = self._tree.directory.find(Child.WRITER)
            if try_tell(writer, request):
                assert writer is not None
                return writer
            if self._tree.phase is not Phase.UP or not _pause_until(request.deadline):
                break
        reason = self._refusal()
        # Nobody else knows of the request: so it stops counting.
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
        """Tell whether another writer will come after this one."""
        return writer is not None and not writer.is_alive() and self._tree.phase is Phase.UP


def _pause_until(deadline: float) -> bool:
    """Wait a little; False: there is no time for that before *deadline*."""
    if time.monotonic() + _RESTART_POLL >= deadline:
        return False
    time.sleep(_RESTART_POLL)
    return True
