"""The one actor that appends: what waits becomes one commit, and every caller is answered."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.actor import SupervisedActor
from actors.announcement import stored_events
from actors.commit_plan import CommitPlan, Group, one_by_one, split
from actors.messages import AppendRequest, Child, EventsCommitted, Flush, Tick
from actors.surroundings import Surroundings
from actors.timer import Handle
from eventstore.errors import (
    EventStoreError,
    NotRunningError,
    OutcomeUnknownError,
    StorageUnavailableError,
)
from eventstore.log import get_logger
from eventstore.storage import Append, AppendSession, Committed, Outcome, StoredEvent

__all__ = ["Writer"]

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0
"""Seconds between two attempts, doubled each time."""

LAST_CHANCE = 0.1
"""Seconds before its deadline after which nothing is tried again: no answer would come in time."""

SLOWEST = 1024 * 1024
"""Bytes per second: a connection that takes less is taken for dead, and made anew."""

log = get_logger()


@dataclass(slots=True)
class _Job:
    """A group on its way to the storage; sent again, with the same ids, until it is answered."""

    group: Group
    maybe_stored: bool = False
    attempts: int = 0
    error: BaseException | None = None
    """Why the last attempt failed."""

    @property
    def requests(self) -> list[AppendRequest]:
        return list(self.group.requests)

    def not_stored(self) -> None:
        """Note that the last attempt wrote nothing: who gives up now knows that."""
        if not self.maybe_stored:
            for request in self.group.requests:
                request.reply.not_stored()

    def too_late(self) -> EventStoreError:
        """Return what a caller hears whose deadline passed between two attempts."""
        error: EventStoreError
        if self.maybe_stored:
            error = OutcomeUnknownError(f"the deadline passed, it may be stored: {self.error}")
        else:
            error = StorageUnavailableError(f"the deadline passed: {self.error}")
        error.__cause__ = self.error
        return error


class Writer(SupervisedActor):
    """Collects what was told while the last commit ran, and commits it at the next `Flush`.

    One attempt per message: between two of them it hears a `Stop`, and new appends queue up.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__("writer", surroundings.supervisor)
        self._shared = surroundings
        self._plan = CommitPlan(surroundings.config.max_commit_bytes)
        self._jobs: deque[_Job] = deque()
        """Sent before anything that still waits in the plan."""
        self._session: AppendSession | None = None
        self._flush_told = False
        self._pause: Handle | None = None
        self._stop_at: float | None = None

    def setup(self) -> None:
        self._session = self._shared.storage.append_session()

    def receive(self, message: Any) -> None:
        match message:
            case AppendRequest():
                self._plan.add(message)
                self._flush_soon()
            case Flush():
                self._flush_told = False
                self._flush()
            case Tick():
                self._pause = None
                self._flush()
            case _:
                raise TypeError(f"not for the writer: {message!r}")

    def stopping(self, deadline: float) -> None:
        """Store what was accepted before, as long as the storage can be reached."""
        self._stop_at = deadline
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._go_on()

    def teardown(self, error: BaseException | None) -> None:
        for job in self._jobs:
            self._end_job(job, error)
        self._jobs.clear()
        for request in self._plan.drain():
            request.reply.answer(_unsent(error))
        if self._pause is not None:
            self._pause.cancel()
        if self._session is not None:
            self._session.close()

    def undelivered(self, message: Any) -> None:
        if isinstance(message, AppendRequest):
            message.reply.answer(_unsent(self.crash))

    # ── one attempt after the other ──────────────────────────────────────────────────────────

    def _flush_soon(self) -> None:
        """Commit behind everything that was told before this moment."""
        if not self._flush_told and self._pause is None:
            self._flush_told = True
            self.actor_ref.tell(Flush())

    def _flush(self) -> None:
        if self._pause is not None:
            return
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

    def _next_job(self, now: float) -> _Job | None:
        while self._jobs:
            job = self._jobs[0]
            if self._still_wanted(job, now):
                return job
            self._jobs.popleft()
        group, expired = self._plan.next_group(now)
        for request in expired:
            request.reply.answer(
                StorageUnavailableError("the deadline passed while the append waited")
            )
        if group is None:
            return None
        self._jobs.append(_Job(group))
        return self._next_job(now)

    def _still_wanted(self, job: _Job, now: float) -> bool:
        """Drop the requests nobody waits for any more; False if none is left."""
        latest = now + LAST_CHANCE if job.attempts else now

        def wanted(request: AppendRequest) -> bool:
            if request.deadline > latest:
                return request.reply.sending()
            request.reply.answer(job.too_late())
            return False

        group = job.group.keeping(wanted)
        if group is not None:
            job.group = group
        return group is not None

    def _attempt(self, job: _Job) -> None:
        assert self._session is not None
        appends = [item.append for item in job.group.items]
        recent = self._shared.recent
        recent.writing = True
        try:
            outcomes = self._session.append(appends, self._attempt_deadline(job))
        except OutcomeUnknownError as error:
            job.maybe_stored = True
            self._try_again(job, error)
        except StorageUnavailableError as error:
            self._try_again(job, error)
        except Exception as error:  # noqa: BLE001 - whatever one append caused harms no other
            self._refused(job, error)
        else:
            self._settle(job, appends, outcomes)
        finally:
            recent.writing = False

    def _attempt_deadline(self, job: _Job) -> float:
        """Return until when to wait: a dead connection must not cost a long deadline."""
        now = time.monotonic()
        left = _latest(job.group) - now
        patience = self._shared.config.connect_timeout + job.group.size / SLOWEST
        # A little before the callers give up, so that they hear the exact reason.
        longest = min(left - min(0.1, left / 4), patience * 2.0 ** min(job.attempts, 10))
        return now + longest if self._stop_at is None else min(now + longest, self._stop_at)

    # ── what became of it ────────────────────────────────────────────────────────────────────

    def _settle(self, job: _Job, appends: Sequence[Append], outcomes: Sequence[Outcome]) -> None:
        stored: list[StoredEvent] = []
        again: list[AppendRequest] = []
        for item, append, outcome in zip(job.group.items, appends, outcomes, strict=True):
            if isinstance(outcome, Committed):
                for request, answer in zip(item.requests, split(item, outcome), strict=True):
                    request.reply.answer(answer)
                if not outcome.repeated:
                    stored.extend(stored_events(append, outcome))
            elif len(item.requests) == 1:
                item.requests[0].reply.answer(outcome)
            else:
                # Only what is refused alone is refused for its own sake.
                again.extend(item.requests)
        for request in again:
            request.reply.not_stored()
        if stored:
            self._shared.directory.tell(Child.PUBLISHER, EventsCommitted(tuple(stored)))
        self._jobs.popleft()
        self._send_alone(again, job)

    def _try_again(self, job: _Job, error: EventStoreError) -> None:
        job.attempts += 1
        job.error = error
        job.not_stored()
        if self._stop_at is not None and isinstance(error, StorageUnavailableError):
            self.finish()
            return
        pause = min(FIRST_PAUSE * 2.0 ** min(job.attempts - 1, 10), LONGEST_PAUSE)
        until_late = max(0.0, _latest(job.group) - time.monotonic())
        self._pause = self._shared.timer.after(min(pause, until_late / 2), self.actor_ref, Tick())
        if job.attempts == 1:
            log.warning("an append is tried again", appends=len(job.requests), error=str(error))

    def _refused(self, job: _Job, error: Exception) -> None:
        """Try each append alone; answer the one that was alone already."""
        self._jobs.popleft()
        job.maybe_stored = job.maybe_stored or not isinstance(error, EventStoreError)
        job.not_stored()
        requests = job.requests
        if len(requests) > 1:
            log.warning(
                "a commit is tried append by append", appends=len(requests), error=str(error)
            )
            self._send_alone(requests, job)
        else:
            requests[0].reply.answer(_own_error(job, error))

    def _send_alone(self, requests: list[AppendRequest], job: _Job) -> None:
        self._jobs.extend(
            _Job(group, job.maybe_stored, error=job.error) for group in one_by_one(requests)
        )

    def _end_job(self, job: _Job, crash: BaseException | None) -> None:
        for request in job.requests:
            if job.maybe_stored or (crash is not None and job is self._jobs[0]):
                answer: EventStoreError = OutcomeUnknownError(
                    f"the writer ended before the answer; the append may be stored: {job.error}"
                )
                answer.__cause__ = crash or job.error
            else:
                answer = _unsent(crash)
            request.reply.answer(answer)


def _own_error(job: _Job, error: Exception) -> EventStoreError:
    if isinstance(error, EventStoreError) and not job.maybe_stored:
        return error
    unknown = OutcomeUnknownError(f"the append may be stored: {error}")
    unknown.__cause__ = error
    return unknown


def _unsent(crash: BaseException | None) -> EventStoreError:
    if crash is None:
        return NotRunningError("the store was closed before the append was sent")
    error = StorageUnavailableError(f"the writer crashed before the append was sent: {crash!r}")
    error.__cause__ = crash
    return error


def _latest(group: Group) -> float:
    return max(request.deadline for request in group.requests)
