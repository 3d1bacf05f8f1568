"""A group on its way to the storage: how often and how long it is tried, what its callers hear.

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
from eventstore_actors.appending.commit_plan import Group, one_by_one
from eventstore_actors.state.append_queue import AppendRequest

__all__ = ["LAST_CHANCE", "Job", "attempt_until", "patience_with", "unsent"]

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0
"""Seconds between two attempts, doubled each time."""

LAST_CHANCE = 0.1
"""Seconds before its deadline after which nothing is tried again: no answer would come in time."""

SLOWEST = 1024 * 1024
"""Bytes per second: a connection that takes less is taken for dead, and made anew."""


@dataclass(slots=True)
class Job:
    """Sent again, with the same ids, until each of its requests is answered."""

    group: Group
    maybe_stored: bool = False
    attempts: int = 0
    error: BaseException | None = None
    """Why the last attempt failed."""

    @property
    def requests(self) -> list[AppendRequest]:
        return list(self.group.requests)

    def alone(self, requests: Iterable[AppendRequest]) -> list[Job]:
        """Return a job for each of *requests*, to be sent one after the other."""
        return [Job(group, self.maybe_stored, error=self.error) for group in one_by_one(requests)]

    # ── how long ─────────────────────────────────────────────────────────────────────────────

    def drop_unwanted(self, now: float) -> bool:
        """Drop the requests nobody waits for any more; False if none is left."""
        latest = now + LAST_CHANCE if self.attempts else now

        def wanted(request: AppendRequest) -> bool:
            if request.deadline > latest:
                return request.reply.begin_sending()
            request.reply.answer(self._too_late())
            return False

        group = self.group.keeping(wanted)
        if group is not None:
            self.group = group
        return group is not None

    def attempt_until(self, now: float, connect_timeout: float) -> float:
        """Return when the attempt ends."""
        patience = patience_with(self.group.size, connect_timeout) * 2.0 ** min(self.attempts, 10)
        return attempt_until(self._latest(), now, patience)

    def failed(self, error: EventStoreError, now: float) -> float:
        """Note a failed attempt; return the seconds until the next."""
        self.attempts += 1
        self.error = error
        self.maybe_stored = self.maybe_stored or isinstance(error, OutcomeUnknownError)
        self.wait_again()
        pause = min(FIRST_PAUSE * 2.0 ** min(self.attempts - 1, 10), LONGEST_PAUSE)
        return min(pause, max(0.0, (self._latest() - now) / 2))

    def wait_again(self) -> None:
        """Note that the last attempt wrote nothing: who gives up now knows that."""
        if not self.maybe_stored:
            for request in self.group.requests:
                request.reply.wait_again()

    def _latest(self) -> float:
        return max(request.deadline for request in self.group.requests)

    # ── what its callers hear ────────────────────────────────────────────────────────────────

    def refuse(self, error: Exception) -> None:
        """Answer that it was sent alone, and failed because of itself."""
        (request,) = self.group.requests
        certain = isinstance(error, EventStoreError) and not self.maybe_stored
        request.reply.answer(error if certain else self._unknown(error))

    def give_up(self, crash: BaseException | None, *, was_sent: bool) -> None:
        """Answer that the writer ended before it knew more."""
        for request in self.group.requests:
            if self.maybe_stored or was_sent:
                request.reply.answer(self._unknown(crash or self.error))
            else:
                request.reply.answer(unsent(crash))

    def _too_late(self) -> EventStoreError:
        if self.maybe_stored:
            return self._unknown(self.error)
        error = StorageUnavailableError(f"the deadline passed: {self.error}")
        error.__cause__ = self.error
        return error

    @staticmethod
    def _unknown(cause: BaseException | None) -> OutcomeUnknownError:
        error = OutcomeUnknownError(f"the append was sent, but its answer is not known: {cause}")
        error.__cause__ = cause
        return error


def patience_with(size: int, connect_timeout: float) -> float:
    """Return the seconds that a first attempt to send *size* bytes may take."""
    return connect_timeout + size / SLOWEST


def attempt_until(deadline: float, now: float, patience: float) -> float:
    """Return when an attempt ends: a dead connection must not cost a long deadline."""
    left = deadline - now
    # A little before the callers give up, so that they hear the exact reason.
    return now + min(left - min(0.1, left / 4), patience)


def unsent(crash: BaseException | None) -> EventStoreError:
    """Return what a caller hears whose append no attempt was made for."""
    if crash is None:
        return NotRunningError("the store was closed before the append was sent")
    error = StorageUnavailableError(f"the writer crashed before the append was sent: {crash!r}")
    error.__cause__ = crash
    return error
