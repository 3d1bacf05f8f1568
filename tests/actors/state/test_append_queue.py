"""The queue of appends: bounded, exactly counted, and every caller answered once and in time."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest

from eventstore.model.errors import (
    NotRunningError,
    OutcomeUnknownError,
    StorageUnavailableError,
    TooManyAppendsError,
)
from eventstore.ports.stored_events import Committed
from eventstore.ports.waits import BLOCKING, run_blocking
from eventstore_actors.state.append_queue import AppendReply, QueueLimit
from tests.support.waiting import PATIENCE

DONE = Committed((), datetime.now(UTC))


def soon() -> float:
    return time.monotonic() + 10


def past() -> float:
    return time.monotonic() - 1


@pytest.fixture
def limit() -> QueueLimit:
    return QueueLimit(max_appends=3, max_bytes=100)


def test_more_appends_than_allowed_are_refused(limit: QueueLimit) -> None:
    replies = [limit.admit(1, BLOCKING.signal()) for _ in range(3)]
    with pytest.raises(TooManyAppendsError, match="max_queued_appends is 3"):
        limit.admit(0, BLOCKING.signal())
    replies[0].answer(DONE)
    limit.admit(1, BLOCKING.signal())
    assert limit.queued_appends == 3


def test_more_bytes_than_allowed_are_refused(limit: QueueLimit) -> None:
    reply = limit.admit(60, BLOCKING.signal())
    with pytest.raises(TooManyAppendsError, match="60 bytes are queued and 41 more"):
        limit.admit(41, BLOCKING.signal())
    limit.admit(40, BLOCKING.signal())
    reply.answer(DONE)
    assert (limit.queued_appends, limit.queued_bytes) == (1, 40)


def test_a_larger_append_is_taken_while_nothing_else_waits(limit: QueueLimit) -> None:
    large = limit.admit(1_000, BLOCKING.signal())
    with pytest.raises(TooManyAppendsError):
        limit.admit(0, BLOCKING.signal())
    large.answer(DONE)
    small = limit.admit(0, BLOCKING.signal())
    with pytest.raises(TooManyAppendsError):
        limit.admit(1_000, BLOCKING.signal())
    small.answer(DONE)
    limit.admit(1_000, BLOCKING.signal())


def test_an_answer_is_returned_or_raised(limit: QueueLimit) -> None:
    stored, failed = limit.admit(1, BLOCKING.signal()), limit.admit(1, BLOCKING.signal())
    stored.answer(DONE)
    failed.answer(NotRunningError("closed"))
    assert run_blocking(stored.wait(past())) is DONE
    with pytest.raises(NotRunningError):
        run_blocking(failed.wait(past()))


def test_only_the_first_answer_counts(limit: QueueLimit) -> None:
    reply = limit.admit(10, BLOCKING.signal())
    reply.answer(DONE)
    reply.answer(NotRunningError("too late"))
    assert run_blocking(reply.wait(soon())) is DONE
    assert (limit.queued_appends, limit.queued_bytes) == (0, 0)


def test_a_caller_that_gave_up_is_never_sent(limit: QueueLimit) -> None:
    reply = limit.admit(10, BLOCKING.signal())
    with pytest.raises(StorageUnavailableError):
        run_blocking(reply.wait(past()))
    assert limit.queued_appends == 0
    assert not reply.begin_sending()
    reply.answer(DONE)
    assert limit.queued_appends == 0


def test_what_was_sent_may_be_stored_and_counts_until_its_answer(limit: QueueLimit) -> None:
    reply = limit.admit(10, BLOCKING.signal())
    assert reply.begin_sending()
    with pytest.raises(OutcomeUnknownError):
        run_blocking(reply.wait(past()))
    assert limit.queued_bytes == 10
    reply.answer(DONE)
    assert limit.queued_bytes == 0


def test_what_was_certainly_not_stored_waits_again(limit: QueueLimit) -> None:
    reply = limit.admit(10, BLOCKING.signal())
    assert reply.begin_sending()
    reply.wait_again()
    with pytest.raises(StorageUnavailableError):
        run_blocking(reply.wait(past()))


def test_a_waiting_caller_is_woken_by_its_answer(limit: QueueLimit) -> None:
    reply = limit.admit(1, BLOCKING.signal())
    answers: list[Committed] = []
    caller = threading.Thread(target=lambda: answers.append(run_blocking(reply.wait(soon()))))
    caller.start()
    reply.answer(DONE)
    caller.join(PATIENCE)
    assert answers == [DONE]


def test_the_counts_are_exact_under_many_threads() -> None:
    limit = QueueLimit(max_appends=8, max_bytes=1_000)
    most: list[int] = []

    def work() -> None:
        for turn in range(300):
            try:
                reply = limit.admit(10, BLOCKING.signal())
            except TooManyAppendsError:
                continue
            most.append(limit.queued_appends)
            _finish(reply, turn)

    def _finish(reply: AppendReply, turn: int) -> None:
        if turn % 3 == 0:
            reply.answer(DONE)
        elif turn % 3 == 1:
            with pytest.raises(StorageUnavailableError):
                run_blocking(reply.wait(past()))
        else:
            reply.begin_sending()
            with pytest.raises(OutcomeUnknownError):
                run_blocking(reply.wait(past()))
            reply.answer(DONE)

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert max(most) <= 8
    assert (limit.queued_appends, limit.queued_bytes) == (0, 0)
