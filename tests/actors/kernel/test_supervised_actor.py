from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest

from eventstore_actors.kernel import inbox
from eventstore_actors.kernel.actor import SupervisedActor, try_tell
from eventstore_actors.kernel.messages import ChildFailed, ChildStopped, ChildUp, Ref, Stop
from tests.support.waiting import PATIENCE

Reports = queue.SimpleQueue[Any]


class Listening(pykka.ThreadingActor):
    """A supervisor that only writes down what it is told."""

    def __init__(self, reports: Reports) -> None:
        super().__init__()
        self._reports = reports

    def on_receive(self, message: Any) -> None:
        self._reports.put(message)


class Obedient(SupervisedActor):
    """Does what it is told: a message is a function of the actor."""

    def __init__(
        self, supervisor: Ref, notes: Reports, setup: Callable[[Obedient], None] | None = None
    ) -> None:
        super().__init__("obedient", supervisor)
        self._notes = notes
        self._setup = setup

    def setup(self) -> None:
        if self._setup is not None:
            self._setup(self)

    def receive(self, message: Any) -> None:
        message(self)

    def teardown(self, error: BaseException | None) -> None:
        self._notes.put(("teardown", error))

    def undelivered(self, message: Any) -> None:
        self._notes.put(("undelivered", message))


@pytest.fixture
def reports() -> Reports:
    return queue.SimpleQueue()


@pytest.fixture
def notes() -> Reports:
    return queue.SimpleQueue()


@pytest.fixture
def supervisor(reports: Reports) -> Iterator[Ref]:
    ref = Listening.start(reports)
    yield ref
    ref.stop(timeout=PATIENCE)


def _raising(error: BaseException) -> Callable[[Any], None]:
    def step(_: Any) -> None:
        raise error

    return step


def _next(messages: Reports) -> Any:
    return messages.get(timeout=PATIENCE)


def test_it_reports_that_it_is_up_and_names_its_daemon_thread_after_its_role(
    supervisor: Ref, reports: Reports, notes: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "LINGER", 3600.0)  # it keeps the thread while the test looks
    child = Obedient.start(supervisor, notes)
    assert _next(reports) == ChildUp(child.actor_urn)
    threads = [t for t in threading.enumerate() if t.name == "eventstore-obedient"]
    assert [t.daemon for t in threads] == [True]
    child.stop(timeout=PATIENCE)


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_whatever_is_raised_crashes_this_actor_alone(
    supervisor: Ref, reports: Reports, notes: Reports, error: BaseException
) -> None:
    """G24: pykka would stop every actor of the process for a `SystemExit`."""
    child = Obedient.start(supervisor, notes)
    child.tell(_raising(error))
    assert _next(reports) == ChildUp(child.actor_urn)
    assert _next(reports) == ChildFailed(child.actor_urn, error)
    assert _next(notes) == ("teardown", error)
    assert not child.is_alive()
    assert supervisor.is_alive()


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3)], ids=repr)
def test_an_error_of_its_setup_is_reported_too(
    supervisor: Ref, reports: Reports, notes: Reports, error: BaseException
) -> None:
    child = Obedient.start(supervisor, notes, _raising(error))
    assert _next(reports) == ChildFailed(child.actor_urn, error)
    assert _next(notes) == ("teardown", error)


def test_one_that_ends_in_its_setup_was_never_up(
    supervisor: Ref, reports: Reports, notes: Reports
) -> None:
    child = Obedient.start(supervisor, notes, Obedient.finish)
    assert _next(reports) == ChildStopped(child.actor_urn)


def test_what_was_told_and_not_read_is_handed_back_at_the_end(
    supervisor: Ref, reports: Reports, notes: Reports
) -> None:
    go_on = threading.Event()
    child = Obedient.start(supervisor, notes, lambda _: go_on.wait(PATIENCE) and None)
    child.tell(_raising(ValueError("bad")))
    child.tell("one")
    asked = child.ask("two", block=False)
    child.tell("three")
    stopped = pykka.ThreadingFuture[None]()
    child.tell(Stop(0.0, stopped))
    go_on.set()
    stopped.get(timeout=PATIENCE)
    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=PATIENCE)
    assert _next(notes)[0] == "teardown"
    assert [_next(notes), _next(notes)] == [("undelivered", "one"), ("undelivered", "three")]


@pytest.mark.parametrize("by_message", [True, False], ids=["Stop", "pykka's stop"])
def test_an_orderly_end_is_reported_and_answered_after_the_teardown(
    supervisor: Ref, reports: Reports, notes: Reports, *, by_message: bool
) -> None:
    child = Obedient.start(supervisor, notes)
    if by_message:
        stopped = pykka.ThreadingFuture[None]()
        assert try_tell(child, Stop(0.0, stopped))
        stopped.get(timeout=PATIENCE)
    else:
        assert child.stop(timeout=PATIENCE)
    assert notes.get_nowait() == ("teardown", None)
    assert _next(reports) == ChildUp(child.actor_urn)
    assert _next(reports) == ChildStopped(child.actor_urn)
    assert not try_tell(child, "too late")


def test_a_teardown_that_raises_comes_to_its_end_all_the_same(
    supervisor: Ref, reports: Reports
) -> None:
    class Clumsy(Obedient):
        def teardown(self, error: BaseException | None) -> None:
            raise SystemExit(error)

    child = Clumsy.start(supervisor, queue.SimpleQueue())
    assert child.stop(timeout=PATIENCE)
    assert _next(reports) == ChildUp(child.actor_urn)
    assert _next(reports) == ChildStopped(child.actor_urn)
    assert supervisor.is_alive()
