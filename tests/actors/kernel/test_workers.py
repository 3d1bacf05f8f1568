"""Actors share threads: who waits has none, and who works never waits for another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count
from queue import SimpleQueue
from typing import Any

import pytest

from eventstore_actors.kernel import inbox as inboxes
from eventstore_actors.kernel.actor import SupervisedActor
from eventstore_actors.kernel.inbox import Inbox, NoMessage
from eventstore_actors.kernel.messages import Ref
from eventstore_actors.kernel.workers import IDLE, WORKERS, Workers
from tests.actors.application import raise_in
from tests.actors.kernel.children import does, in_child
from tests.support.waiting import PATIENCE, wait_until


class Note:
    """A work that notes its thread, and returns when it may."""

    def __init__(self, *, held: bool = False) -> None:
        self.thread: threading.Thread | None = None
        self.begun, self._may_end = threading.Event(), threading.Event()
        if not held:
            self.let_go()

    def __call__(self) -> None:
        self.thread = threading.current_thread()
        self.begun.set()
        assert self._may_end.wait(PATIENCE)

    def let_go(self) -> None:
        self._may_end.set()

    def done_by(self) -> threading.Thread:
        assert self.begun.wait(PATIENCE)
        assert self.thread is not None
        return self.thread


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Threads of their own, of which none is left."""
    workers = Workers()
    workers.actor_started()
    yield workers
    workers.actor_ended()
    wait_until(lambda: not workers._threads)


def run(workers: Workers, note: Note) -> threading.Thread:
    """Have *note* done, and wait until its thread is idle."""
    workers.run(note)
    thread = note.done_by()
    wait_until(lambda: thread.name == IDLE and workers._idle)
    return thread


def test_one_thread_does_all_work_that_comes_one_after_the_other(workers: Workers) -> None:
    assert len({run(workers, Note()) for _ in range(100)}) == 1


def test_work_never_waits_for_other_work(workers: Workers) -> None:
    held = [Note(held=True) for _ in range(5)]
    for note in held:
        workers.run(note)
    assert len({note.done_by() for note in held}) == 5
    for note in held:
        note.let_go()


def test_a_thread_that_is_not_needed_ends() -> None:
    workers = Workers(linger=0.01)
    workers.actor_started()
    workers.run(note := Note())
    note.done_by().join(PATIENCE)
    assert not note.done_by().is_alive()
    run_after = Note()
    workers.run(run_after)
    run_after.done_by().join(PATIENCE)
    assert not workers._threads


def test_no_work_is_lost_when_it_comes_as_a_thread_ends() -> None:
    """Whoever is lent at the moment at which it gives up waiting does the work."""
    workers = Workers(linger=0.0001)
    workers.actor_started()
    for pause in range(300):
        workers.run(note := Note())
        assert note.begun.wait(PATIENCE)
        threading.Event().wait(pause / 1e6)
    workers.actor_ended()


def test_all_end_with_the_last_actor(workers: Workers) -> None:
    workers.actor_started()
    thread = run(workers, Note())
    workers.actor_ended()
    assert thread.is_alive()
    workers.actor_ended()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    workers.actor_started()


def test_work_waits_for_a_thread_where_none_can_be_started(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G24: a process at the limit of its threads goes on, more slowly."""
    workers.run(held := Note(held=True))
    held.done_by()
    with monkeypatch.context() as limit:
        limit.setattr(threading.Thread, "start", _refuse)
        workers.run(late := Note())
    assert not late.begun.is_set()
    held.let_go()
    assert late.done_by() is held.done_by()


def test_what_waits_for_a_thread_that_ends_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """G24: the last thread may be about to end when it is counted on."""
    workers = Workers()
    workers.run(held := Note(held=True))
    held.done_by()
    with monkeypatch.context() as limit:
        limit.setattr(threading.Thread, "start", _refuse)
        workers.run(late := Note())
    monkeypatch.setattr(workers, "await_work", lambda _: None)
    held.let_go()
    assert late.done_by() is not held.done_by()


def test_without_any_thread_the_caller_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers()
    with monkeypatch.context() as limit:
        limit.setattr(threading.Thread, "start", _refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            workers.run(Note())
    workers.run(note := Note())
    note.done_by().join(PATIENCE)


def test_work_of_a_thread_that_dies_is_done_by_another(workers: Workers) -> None:
    """F44, G24: an exception that hits an idle thread costs nobody a message."""
    thread = run(workers, Note())
    raise_in(thread, ZeroDivisionError)
    workers.run(note := Note())
    assert note.done_by() is not thread


def test_work_that_an_exception_ends_is_done_again(workers: Workers) -> None:
    """F44, G24: an actor's messages wait in its inbox, and its own errors do not come here."""
    calls = count(1)
    done = threading.Event()

    def work() -> None:
        if next(calls) == 1:
            raise ZeroDivisionError
        done.set()

    workers.run(work)
    assert done.wait(PATIENCE)


def test_a_child_after_a_fork_uses_nothing_of_the_parent() -> None:
    """It has none of its threads, and an idle one would never do what it is given."""
    done = threading.Event()
    WORKERS.actor_started()
    WORKERS.run(done.set)
    assert done.wait(PATIENCE)
    wait_until(lambda: WORKERS._idle)
    in_child(lambda: does(WORKERS.run))
    WORKERS.actor_ended()


def _refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


# ── the inbox ────────────────────────────────────────────────────────────────────────────────


class Noting(SupervisedActor):
    """Notes what it is sent."""

    def __init__(self, seen: list[Any]) -> None:
        super().__init__("noting", None)
        self.seen = seen

    def receive(self, message: Any) -> None:
        assert threading.current_thread().name == "eventstore-noting"
        self.seen.append(message)


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest.fixture
def noting(seen: list[Any]) -> Iterator[Ref]:
    ref = Noting.start(seen)
    yield ref
    ref.stop(timeout=PATIENCE)


def _threads(role: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == f"eventstore-{role}"]


def test_an_actor_has_a_thread_only_while_messages_come(noting: Ref, seen: list[Any]) -> None:
    for number in range(3):
        wait_until(lambda: not _threads("noting"))
        noting.tell(number)
        wait_until(lambda: len(seen) == number + 1)  # noqa: B023 - used at once
    assert seen == [0, 1, 2]


def test_an_actor_of_the_parent_does_not_run_in_a_child_after_a_fork(
    noting: Ref, seen: list[Any]
) -> None:
    """Its connections are the parent's."""
    wait_until(lambda: not _threads("noting"))

    def tell() -> bool:
        noting.tell("for the parent")
        return does(WORKERS.run) and not seen and not _threads("noting")

    in_child(tell)


@pytest.mark.parametrize("linger", [0.0, 0.0001])
def test_no_message_is_lost_as_the_actor_falls_asleep(
    noting: Ref, seen: list[Any], monkeypatch: pytest.MonkeyPatch, linger: float
) -> None:
    """G7, G12: each message once, those of one sender in order."""
    monkeypatch.setattr(inboxes, "LINGER", linger)

    def send(sender: int) -> None:
        pause = threading.Event()
        for number in range(500):
            noting.tell((sender, number))
            if number % 3 == sender % 3:
                pause.wait(number / 1e7)

    senders = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
    for each in senders:
        each.start()
    for each in senders:
        each.join()
    wait_until(lambda: len(seen) == 2_000)
    for sender in range(4):
        assert [number for who, number in seen if who == sender] == list(range(500))


def test_a_message_that_comes_as_the_actor_falls_asleep_keeps_it_awake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G23: it does not wait for the next one."""
    monkeypatch.setattr(inboxes, "LINGER", 0.0)
    inbox = Inbox()
    sending = threading.Thread(target=inbox.put, args=("late",))

    class Messages(SimpleQueue[Any]):
        def empty(self) -> bool:
            sending.start()
            wait_until(self.qsize)
            return super().empty()

    inbox._messages = Messages()
    assert inbox.get() == "late"
    sending.join()


def test_a_message_that_could_wake_nobody_is_read_with_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inboxes, "LINGER", 0.0)
    inbox, attempts = Inbox(), count(1)

    def wake() -> None:
        if next(attempts) == 1:
            raise RuntimeError("can't start new thread")

    inbox.woken_by(wake)
    with pytest.raises(NoMessage):
        inbox.get()
    with pytest.raises(RuntimeError):
        inbox.put("first")
    inbox.put("second")
    assert next(attempts) == 3
    assert [inbox.get(), inbox.get()] == ["first", "second"]
    _expect_no_message(inbox.get)


def _expect_no_message(get: Callable[[], Any]) -> None:
    with pytest.raises(NoMessage):
        get()
