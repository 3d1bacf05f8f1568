"""The turn to append: lent to one at a time, and waited for by the writer alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import pytest

from eventstore.ports.storage import AppendSession
from eventstore_actors.state.commit_turn import CommitTurn
from tests.support.waiting import PATIENCE

SESSION = cast(AppendSession, object())


@pytest.fixture
def turn() -> CommitTurn:
    turn = CommitTurn()
    turn.offer(SESSION)
    return turn


@pytest.fixture
def elsewhere() -> Iterator[ExitStack]:
    """What is done in another thread, and undone at the end."""
    with ExitStack() as stack:
        yield stack


def held_by_another_thread(turn: CommitTurn, stack: ExitStack) -> threading.Event:
    """Let a caller have the turn until the event is set."""
    taken, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with turn.caller_turn() as session:
            assert session is SESSION
            taken.set()
            enough.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    stack.callback(thread.join)
    stack.callback(enough.set)
    assert taken.wait(PATIENCE)
    return enough


def test_a_caller_gets_the_session_if_nobody_has_it(turn: CommitTurn) -> None:
    with turn.caller_turn() as session:
        assert session is SESSION


def test_a_caller_does_not_wait_for_another(turn: CommitTurn, elsewhere: ExitStack) -> None:
    held_by_another_thread(turn, elsewhere)
    with turn.caller_turn() as session:
        assert session is None


def test_nothing_is_lent_before_it_is_offered() -> None:
    with CommitTurn().caller_turn() as session:
        assert session is None


def test_the_writer_waits_for_a_caller(turn: CommitTurn, elsewhere: ExitStack) -> None:
    enough = held_by_another_thread(turn, elsewhere)
    begun, done = threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        with turn.writer_turn():
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    elsewhere.callback(writer.join)
    assert begun.wait(PATIENCE)
    assert not done.wait(0.05)
    enough.set()
    assert done.wait(PATIENCE)


def test_what_was_withdrawn_is_not_lent(turn: CommitTurn) -> None:
    turn.withdraw(timeout=0)
    with turn.caller_turn() as session:
        assert session is None


def test_a_withdrawal_waits_for_the_caller_that_has_it(
    turn: CommitTurn, elsewhere: ExitStack
) -> None:
    enough = held_by_another_thread(turn, elsewhere)
    done = threading.Event()

    def withdraw() -> None:
        turn.withdraw(timeout=10)
        done.set()

    withdrawal = threading.Thread(target=withdraw)
    withdrawal.start()
    elsewhere.callback(withdrawal.join)
    assert not done.wait(0.05)
    enough.set()
    assert done.wait(PATIENCE)


def test_a_withdrawal_waits_no_longer_than_it_may(turn: CommitTurn, elsewhere: ExitStack) -> None:
    held_by_another_thread(turn, elsewhere)
    turn.withdraw(timeout=0.05)
    turn.withdraw(timeout=-1)


def test_the_writer_may_end_in_its_own_turn(turn: CommitTurn) -> None:
    with turn.writer_turn():
        turn.withdraw(timeout=10)
    with turn.caller_turn() as session:
        assert session is None


def test_an_error_gives_the_turn_back(turn: CommitTurn, elsewhere: ExitStack) -> None:
    with pytest.raises(ZeroDivisionError), turn.caller_turn():
        raise ZeroDivisionError
    held_by_another_thread(turn, elsewhere)
