"""What a caller hears who gives up between two attempts of its append."""

from __future__ import annotations

from uuid import uuid4

import pytest

from eventstore.model.errors import OutcomeUnknownError, StorageUnavailableError
from eventstore.ports.stored_events import EncodedEvent, StreamAppend
from eventstore.ports.waits import BLOCKING, run_blocking
from eventstore_actors.appending.attempt import Job
from eventstore_actors.appending.commit_plan import Group, Item
from eventstore_actors.state.append_queue import AppendRequest, QueueLimit

LOST = OutcomeUnknownError("the answer was lost")
AWAY = StorageUnavailableError("connection refused")

NOW = 100.0
PASSED = 0.0
"""A deadline that is over whenever it is waited for."""


@pytest.fixture
def request_() -> AppendRequest:
    append = (StreamAppend("order-1", -1, (EncodedEvent(uuid4(), "Happened", b"{}"),)),)
    return AppendRequest(append, 2, NOW + 10, QueueLimit(10, 1_000).admit(2, BLOCKING.signal()))


def attempted(
    request: AppendRequest, *errors: OutcomeUnknownError | StorageUnavailableError
) -> Job:
    job = Job(Group((Item((request,)),)))
    for error in errors:
        assert job.drop_expired(NOW)
        job.failed(error, NOW)
    return job


def test_while_nothing_was_written_who_gives_up_is_told_so(request_: AppendRequest) -> None:
    """G25."""
    attempted(request_, AWAY, AWAY)

    with pytest.raises(StorageUnavailableError):
        run_blocking(request_.reply.wait(PASSED))


@pytest.mark.parametrize("errors", [(LOST,), (LOST, AWAY), (AWAY, LOST, AWAY, AWAY)])
def test_after_a_lost_answer_who_gives_up_is_never_told_that_it_is_unstored(
    request_: AppendRequest, errors: tuple[OutcomeUnknownError | StorageUnavailableError, ...]
) -> None:
    """G25: whatever the attempts after it came to."""
    attempted(request_, *errors)

    with pytest.raises(OutcomeUnknownError):
        run_blocking(request_.reply.wait(PASSED))


def test_nobody_is_sent_who_gave_up(request_: AppendRequest) -> None:
    """G25."""
    job = attempted(request_, AWAY)
    with pytest.raises(StorageUnavailableError):
        run_blocking(request_.reply.wait(PASSED))

    assert not job.drop_expired(NOW)
