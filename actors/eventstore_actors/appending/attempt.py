"""Attempts to store a group: their deadlines, their retries, the errors for the callers.

Pure: no thread, no clock, no storage.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from eventstore.model.errors import (
    EventStoreError,
    NotRunningError,
    OutcomeUnknownError,
    StorageUnavailableError,
)
from eventstore.ports.runtime import LAST_CHANCE
from eventstore_actors.appending.commit_plan import Group, one_by_one
from eventstore_actors.state.append_queue import AppendRequest

__all__ = ["Job", "attempt_deadline", "attempt_timeout", "not_sent_error"]

FIRST_PAUSE = 0.02
"""Seconds before the second attempt; doubled for each further one."""

LONGEST_PAUSE = 1.0
"""Upper bound for the pause between two attempts, in seconds."""

MIN_BYTES_PER_SECOND = 1024 * 1024
"""Bytes per second; a slower connection counts as dead and is replaced."""


@dataclass(slots=True)
class Job:
    """A group that is sent, with the same event ids, until each of its requests is answered."""

    group: Group
    maybe_stored: bool = False
    """The outcome of an attempt is not known."""
    under_way: bool = False
    """An attempt was sent and has no outcome yet."""
    attempts: int = 0
    """Failed attempts."""
    error: BaseException | None = None
    """The error of the last failed attempt."""

    @property
    def requests(self) -> list[AppendRequest]:
        return list(self.group.requests)

    def one_each(self, requests: Iterable[AppendRequest]) -> list[Job]:
        """Return a job for each of *requests*, to be sent one after the other."""
        return [Job(group, self.maybe_stored, error=self.error) for group in one_by_one(requests)]

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def drop_expired(self, now: float) -> bool:
        """Answer and drop the requests whose deadline passed; return False if none is left."""
        latest = now + LAST_CHANCE if self.attempts else now

        def wanted(request: AppendRequest) -> bool:
            if request.deadline > latest:
                return request.reply.begin_sending()
            request.reply.answer(self._deadline_passed())
            return False

        group = self.group.keeping(wanted)
        if group is not None:
            self.group = group
        return group is not None

    def attempt_deadline(self, now: float, connect_timeout: float) -> float:
        """Return when the next attempt times out, on `time.monotonic`."""
        timeout = attempt_timeout(self.group.size, connect_timeout) * 2.0 ** min(self.attempts, 10)
        return attempt_deadline(self._latest(), now, timeout)

    def failed(self, error: EventStoreError, now: float) -> float:
        """Note a failed attempt; return the seconds to wait before the next."""
        self.attempts += 1
        self.under_way = False
        self.error = error
        self.maybe_stored = self.maybe_stored or isinstance(error, OutcomeUnknownError)
        self.wait_again()
        pause = min(FIRST_PAUSE * 2.0 ** min(self.attempts - 1, 10), LONGEST_PAUSE)
        return min(pause, max(0.0, (self._latest() - now) / 2))

    def wait_again(self) -> None:
        """Note that nothing is stored, if that is certain; a caller may then give up safely."""
        if not self.maybe_stored:
            for request in self.group.requests:
                request.reply.wait_again()

    def _latest(self) -> float:
        return max(request.deadline for request in self.group.requests)

    # ── errors for its callers ───────────────────────────────────────────────────────────────

    def refuse(self, error: Exception) -> None:
        """Answer the single request of this job with *error*."""
        (request,) = self.group.requests
        if self.maybe_stored:
            error = self._unknown(error)
        elif not isinstance(error, EventStoreError):
            error = not_sent_error(error)
        request.reply.answer(error)

    def give_up(self, crash: BaseException | None) -> None:
        """Answer all requests when the writer ends.

        Args:
            crash: The writer's crash; None if it was stopped.
        """
        for request in self.group.requests:
            if self.maybe_stored or self.under_way:
                request.reply.answer(self._unknown(crash or self.error))
            else:
                request.reply.answer(not_sent_error(crash))

    def _deadline_passed(self) -> EventStoreError:
        if self.maybe_stored:
            return self._unknown(self.error)
        error = StorageUnavailableError(f"the deadline passed: {self.error}")
        error.__cause__ = self.error
        return error

    @staticmethod
    def _unknown(cause: BaseException | None) -> OutcomeUnknownError:
        error = OutcomeUnknownError(f"the append was sent, but its outcome is not known: {cause}")
        error.__cause__ = cause
        return error


def attempt_timeout(size: int, connect_timeout: float) -> float:
    """Return the seconds that a first attempt to send *size* bytes may take."""
    return connect_timeout + size / MIN_BYTES_PER_SECOND


def attempt_deadline(deadline: float, now: float, timeout: float) -> float:
    """Return when an attempt times out, so that a dead connection does not cost all the time left.

    Args:
        deadline: When the callers give up.
        now: The start of the attempt.
        timeout: Most seconds for the attempt.
    """
    left = deadline - now
    # A little before the callers give up, so that they get the exact error.
    return now + min(left - min(0.1, left / 4), timeout)


def not_sent_error(crash: BaseException | None) -> EventStoreError:
    """Return the error for a caller whose append was never sent."""
    if crash is None:
        return NotRunningError("the store was closed before the append was sent")
    error = StorageUnavailableError(f"the writer crashed before the append was sent: {crash!r}")
    error.__cause__ = crash
    return error
