from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pykka
import pytest

from eventstore_actors.kernel.shared_timer import SharedTimer
from eventstore_actors.kernel.timer import Alarm, Timer
from tests.actors.application import raise_in_threads
from tests.support.waiting import PATIENCE, wait_until


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
    ref.stop(timeout=PATIENCE)


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
    dead.stop(timeout=PATIENCE)
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


# ── shared ───────────────────────────────────────────────────────────────────────────────────


def timers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "eventstore-timer"]


def test_all_stores_of_a_process_share_one_that_ends_with_the_last(
    recorder: pykka.ActorRef[Recorder], heard: SimpleQueue[Any]
) -> None:
    """G26."""
    shared, one, other = SharedTimer(), list[BaseException](), list[BaseException]()
    timer = shared.join(one.append)
    assert shared.join(other.append) is timer
    shared.leave(one.append)
    shared.leave(one.append)
    timer.after(0, recorder, "kept")
    assert heard.get(timeout=PATIENCE)[0] == "kept"
    assert len(timers()) == 1
    shared.leave(other.append)
    assert timers() == []
    assert shared.join(one.append) is not timer
    shared.leave(one.append)


def test_every_store_is_told_of_a_crash_of_the_shared_one(
    recorder: pykka.ActorRef[Recorder],
) -> None:
    """F44, G24."""
    shared, one, other = SharedTimer(), list[BaseException](), list[BaseException]()
    shared.join(one.append)
    timer = shared.join(other.append)
    raise_in_threads("eventstore-timer", ZeroDivisionError)
    timer.after(0, recorder, "waking")
    wait_until(lambda: len(one) == len(other) == 1)
    shared.leave(one.append)
    shared.leave(other.append)


def test_one_who_leaves_takes_the_messages_to_its_dead_actors_along(
    recorder: pykka.ActorRef[Recorder], heard: SimpleQueue[Any]
) -> None:
    """Else the memory of a closed store stayed until the last of its deadlines."""
    shared, crashes = SharedTimer(), list[BaseException]()
    timer = shared.join(crashes.append)
    shared.join(print)
    dead = Recorder.start(heard)
    timer.after(3600, dead, "dead")
    timer.after(0.05, recorder, "kept")
    timer.after(3600, recorder, "cancelled").cancel()
    dead.stop(timeout=PATIENCE)
    shared.leave(crashes.append)
    assert len(timer._waiting) <= 1
    assert heard.get(timeout=PATIENCE)[0] == "kept"
    shared.leave(print)
