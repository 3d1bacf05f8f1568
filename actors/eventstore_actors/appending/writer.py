"""The actor that appends: it group-commits the waiting appends and answers every caller."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from eventstore.model.errors import (
    EventStoreError,
    OutcomeUnknownError,
    StorageUnavailableError,
)
from eventstore.model.log import get_logger
from eventstore.ports.storage import AppendSession
from eventstore.ports.stored_events import Append, Committed, Outcome, StoredEvent
from eventstore_actors.appending.attempt import Job, not_sent_error
from eventstore_actors.appending.commit_plan import CommitPlan, Gathering, split, stored_events
from eventstore_actors.kernel.actor import SupervisedActor
from eventstore_actors.kernel.messages import Child, EventsCommitted, Flush, Tick
from eventstore_actors.kernel.timer import Handle
from eventstore_actors.state.append_queue import AppendRequest
from eventstore_actors.state.context import Context

__all__ = ["Writer"]

log = get_logger()


class Writer(SupervisedActor):
    """Queues the appends that arrive during a commit, and commits them at the next `Flush`.

    It makes one attempt per message, so that it handles a `Stop` and new appends in between.
    """

    def __init__(self, context: Context) -> None:
        super().__init__("writer", context.supervisor)
        self._shared = context
        self._plan = CommitPlan(context.config.max_commit_bytes)
        self._jobs: deque[Job] = deque()
        """Retries; they go before anything in the plan."""
        self._session: AppendSession | None = None
        self._flush_told = False
        self._gathering = Gathering()
        self._pause: Handle | None = None
        self._stop_at: float | None = None

    def setup(self) -> None:
        self._session = self._shared.storage.append_session()
        self._shared.turn.offer(self._session)

    def receive(self, message: Any) -> None:
        match message:
            case AppendRequest():
                self._plan.add(message)
                if self.actor_inbox.empty():
                    self._gather_or_flush()  # as a `Flush` would do that came now
                else:
                    self._flush_soon()
            case Flush():
                self._flush_told = False
                self._gather_or_flush()
            case Tick():
                self._pause = None
                self._flush()
            case _:
                raise TypeError(f"unexpected message: {message!r}")

    def stopping(self, deadline: float) -> None:
        """Store the appends accepted so far, as long as the storage can be reached."""
        self._stop_at = deadline
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._go_on()

    def teardown(self, error: BaseException | None) -> None:
        for job in self._jobs:
            job.give_up(error)
        self._jobs.clear()
        for request in self._plan.drain():
            request.reply.answer(not_sent_error(error))
        if self._pause is not None:
            self._pause.cancel()
        self._shared.turn.withdraw((self._stop_at or 0.0) - time.monotonic())
        if self._session is not None:
            self._session.close()

    def undelivered(self, message: Any) -> None:
        if isinstance(message, AppendRequest):
            message.reply.answer(not_sent_error(self.crash))

    # ── attempts ─────────────────────────────────────────────────────────────────────────────

    def _flush_soon(self) -> None:
        """Commit after all messages that are in the inbox now."""
        if not self._flush_told and self._pause is None:
            self._flush_told = True
            self.actor_ref.tell(Flush())

    def _gather_or_flush(self) -> None:
        """Commit now, or first wait for the few callers of the last commit."""
        pause = self._gathering.pause(time.monotonic())
        if pause:
            time.sleep(pause)
            self._flush_soon()
        else:
            self._flush()

    def _flush(self) -> None:
        if self._pause is not None:
            return
        with self._shared.turn.writer_turn():
            job = self._next_job(time.monotonic())
            if job is not None:
                self._attempt(job)
        self._go_on()

    def _go_on(self) -> None:
        if self._pause is not None:
            return
        if self._jobs or len(self._plan):
            self._flush_soon()
        elif self._stop_at is not None:
            self.finish()

    def _next_job(self, now: float) -> Job | None:
        while self._jobs:
            job = self._jobs[0]
            if job.drop_expired(now):
                return job
            self._jobs.popleft()
        group, expired = self._plan.next_group(now)
        for request in expired:
            request.reply.answer(
                StorageUnavailableError("the deadline passed while the append was queued")
            )
        if group is None:
            return None
        self._jobs.append(Job(group))
        return self._next_job(now)

    def _attempt(self, job: Job) -> None:
        assert self._session is not None
        recent = self._shared.recent
        self._shared.turn.pulse.until = self._attempt_deadline(job)
        recent.writing = True
        try:
            if not self._session.connected and not self._connect(self._session, job):
                return
            appends = [item.append for item in job.group.items]
            until = self._shared.turn.pulse.until = self._attempt_deadline(job)
            job.under_way = True
            outcomes = self._session.append(appends, until)
        except (OutcomeUnknownError, StorageUnavailableError) as error:
            self._try_again(job, error)
        except Exception as error:  # noqa: BLE001 - the error of one append must not fail others
            self._refused(job, error)
        else:
            self._settle(job, appends, outcomes)
        finally:
            recent.writing = False

    def _connect(self, session: AppendSession, job: Job) -> bool:
        """Connect before the append counts as sent.

        Returns:
            False if all its callers have given up meanwhile.
        """
        job.wait_again()
        session.connect(self._attempt_deadline(job))
        if job.drop_expired(time.monotonic()):
            return True
        self._jobs.popleft()
        return False

    def _attempt_deadline(self, job: Job) -> float:
        until = job.attempt_deadline(time.monotonic(), self._shared.config.connect_timeout)
        return until if self._stop_at is None else min(until, self._stop_at)

    # ── outcomes ─────────────────────────────────────────────────────────────────────────────

    def _settle(self, job: Job, appends: Sequence[Append], outcomes: Sequence[Outcome]) -> None:
        stored: list[StoredEvent] = []
        again: list[AppendRequest] = []
        # Looked at before the answers, after which the callers come back.
        others = len(self._plan) > 0 or not self.actor_inbox.empty()
        # Read after the commit: a subscription that watches from now on reads it in the storage.
        watched = self._shared.recent.watched
        for item, append, outcome in zip(job.group.items, appends, outcomes, strict=True):
            if isinstance(outcome, Committed):
                for request, answer in zip(item.requests, split(item, outcome), strict=True):
                    request.reply.answer(answer)
                if watched and not outcome.repeated:
                    stored.extend(stored_events(append, outcome))
            elif len(item.requests) == 1:
                item.requests[0].reply.answer(outcome)
            else:
                # A merged append may be refused because of one request: retry each alone.
                again.extend(item.requests)
        for request in again:
            request.reply.wait_again()
        if any(isinstance(each, Committed) and not each.repeated for each in outcomes):
            self._shared.announcements.note_events()
        if stored:
            self._shared.directory.tell(Child.PUBLISHER, EventsCommitted(tuple(stored)))
        events = sum(len(part.events) for append in appends for part in append)
        self._shared.turn.shared = self._gathering.committed(
            len(job.requests), events, time.monotonic(), others=others
        )
        self._jobs.popleft()
        self._jobs.extend(job.one_each(again))

    def _try_again(self, job: Job, error: EventStoreError) -> None:
        pause = job.failed(error, time.monotonic())
        if self._stop_at is not None and isinstance(error, StorageUnavailableError):
            self.finish()
            return
        self._pause = self._shared.timer.after(pause, self.actor_ref, Tick())
        if job.attempts == 1:
            log.warning("append retried", appends=len(job.requests), error=str(error))

    def _refused(self, job: Job, error: Exception) -> None:
        """Retry each append alone; an append that was alone is refused."""
        self._jobs.popleft()
        unexpected = not isinstance(error, EventStoreError)
        job.maybe_stored = job.maybe_stored or (job.under_way and unexpected)
        job.under_way = False
        job.wait_again()
        requests = job.requests
        if len(requests) == 1:
            job.refuse(error)
        else:
            log.warning("commit split", appends=len(requests), error=str(error))
            self._jobs.extend(job.one_each(requests))
