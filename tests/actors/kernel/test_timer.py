from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pykka
import pytest

from eventstore_actors.kernel.timer import Alarm, Timer
from tests.actors.application import raise_in_threads
from tests.support.waiting import PATIENCE


class Recorder(pykka.ThreadingActor):
    use_daemon_thread = True

    def __init__(self, heard: SimpleQueue[Any]) -> None:
        super().__init__()
        self.heard = heard

    def on_receive(self, message: Any) -> None:
        self.heard.put((message, time.monotonic()))


@pytest.fixture
def heard() -> SimpleQueue[Any]:
    return SimpleQueue()


@pytest.fixture
def recorder(heard: SimpleQueue[Any]) -> Iterator[pykka.ActorRef[Recorder]]:
    ref = Recorder.start(heard)
    yield ref
    ref.stop(timeout=5)


@pytest.fixture
def timer() -> Iterator[Timer]:
    timer = Timer()
    timer.start()
    yield timer
    timer.stop()


def test_messages_arrive_in_the_order_in_which_they_are_due(
    timer: Timer, recorder: pykka.ActorRef[Recorder], heard: SimpleQueue[Any]
) -> None:
    start = time.monotonic()
    timer.after(1.2, recorder, "third")
    timer.after(0.8, recorder, "second")
    timer.after(0.4, recorder, "first")

    told = [heard.get(timeout=PATIENCE) for _ in range(3)]

    assert [message for message, _ in told] == ["first", "second", "third"]
    assert told[0][1] - start >= 0.4
    assert told[2][1] - start >= 1.2


def test_a_cancelled_message_is_never_told(
    timer: Timer, recorder: pykka.ActorRef[Recorder], heard: SimpleQueue[Any]
) -> None:
    timer.after(0.5, recorder, "cancelled").cancel()
    timer.after(0.6, recorder, "kept")

    assert heard.get(timeout=PATIENCE)[0] == "kept"


def test_a_dead_actor_is_no_error(
    timer: Timer, recorder: pykka.ActorRef[Recorder], heard: SimpleQueue[Any]
) -> None:
    dead = Recorder.start(heard)
    dead.stop(timeout=5)
    timer.after(0, dead, "lost")
    timer.after(0.01, recorder, "kept")

    assert heard.get(timeout=PATIENCE)[0] == "kept"


def test_a_stopped_timer_tells_nothing_and_leaves_no_thread(
    recorder: pykka.ActorRef[Recorder], heard: SimpleQueue[Any]
) -> None:
    timer = Timer()
    timer.start()
    timer.after(60, recorder, "lost")
    timer.stop()
    timer.stop()
    timer.after(0, recorder, "lost, too")

    assert not [thread for thread in threading.enumerate() if thread.name == "eventstore-timer"]
    recorder.tell("kept")
    assert heard.get(timeout=PATIENCE)[0] == "kept"


def test_an_alarm_rings_once_at_the_earliest_moment_asked_for(
    timer: Timer, recorder: pykka.ActorRef[Recorder], heard: SimpleQueue[Any]
) -> None:
    """However often it is set: else ticks would multiply."""
    alarm = Alarm(timer, recorder, "ring")
    start = time.monotonic()
    for delay in (60, 0.05, 0.1, 0.05, 70):
        alarm.at(start + delay)

    _, rang_at = heard.get(timeout=PATIENCE)

    assert 0.05 <= rang_at - start < 60
    assert alarm.rang()
    timer.after(0.1, recorder, "kept")
    assert heard.get(timeout=PATIENCE)[0] == "kept"


def test_an_alarm_can_be_set_again_when_it_rang(
    timer: Timer, recorder: pykka.ActorRef[Recorder], heard: SimpleQueue[Any]
) -> None:
    alarm = Alarm(timer, recorder, "ring")
    for _ in range(3):
        alarm.at(time.monotonic())
        heard.get(timeout=PATIENCE)
        assert alarm.rang()

    assert not alarm.rang(), "a ring that was taken back too late does not count"


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_crash_in_its_thread_is_reported_and_loses_no_message(
    recorder: pykka.ActorRef[Recorder], heard: SimpleQueue[Any], error: type[BaseException]
) -> None:
    """F44, G24."""
    crashes: list[BaseException] = []
    timer = Timer(crashes.append)
    timer.start()
    timer.after(0.4, recorder, "before")
    raise_in_threads("eventstore-timer", error)
    timer.after(0.1, recorder, "waking")
    timer.after(0.5, recorder, "after")

    told = [heard.get(timeout=PATIENCE)[0] for _ in range(3)]

    timer.stop()
    assert sorted(told) == ["after", "before", "waking"]
    assert [type(each) for each in crashes] == [error]
    assert heard.empty()


def test_a_message_that_nobody_sends_is_seen(recorder: pykka.ActorRef[Recorder]) -> None:
    """F44, G32."""
    timer = Timer()
    assert timer.overdue() == 0.0
    timer.after(60, recorder, "later")
    assert timer.overdue() == 0.0
    timer.after(-1, recorder, "late")
    assert timer.overdue() >= 1
