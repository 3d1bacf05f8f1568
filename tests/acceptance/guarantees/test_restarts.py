"""New processes follow old ones: in a rolling restart, and right after a kill."""

from __future__ import annotations

import signal
import time

from eventstore import EventStore
from tests.acceptance.guarantees.conftest import Start, wait_for_checkpoint
from tests.acceptance.guarantees.test_chaos import assert_runs
from tests.acceptance.guarantees.test_durability import assert_stored, everything
from tests.support.processes import Service
from tests.support.waiting import PATIENCE

NAME = "sub"
GENERATIONS = 4


def test_a_rolling_restart_under_load_delivers_everything_once_and_in_order(
    start: Start, observer: EventStore
) -> None:
    """G5, G13, G14, G15, G16, G26, G27: each is ready before the one before it gets its SIGTERM."""
    (writer,) = start(runtime="caller")
    writer.do("write", streams=["a", "b", "c"], seed=27, most_streams=2, pause=0.005)
    generations = [joining(start)]
    generations[0].wait("subscribed")
    for _ in range(GENERATIONS - 1):
        generations.append(joining(start))
        old, new = generations[-2:]
        old.wait("delivered", count=len(old.reports("delivered")) + 10)
        assert not new.reports("subscribed")
        old.signal(signal.SIGTERM)
        assert old.exit_code() == 0
        assert new.wait("subscribed")["at"] - old.wait("joined")["at"] < PATIENCE
    writer.do("stop").wait("written")
    stored = everything(observer)
    assert_stored(writer.reports("appended"), stored)
    wait_for_checkpoint(observer, len(stored))
    delivered = [position for each in generations for position in each.positions(NAME)]
    assert delivered == list(range(1, len(stored) + 1))
    assert observer.subscription_info("$all", NAME).epoch == GENERATIONS


def joining(start: Start) -> Service:
    """Start the program once more: it subscribes, and serves until it is told to end."""
    (service,) = start(lease=60.0, stop_timeout=20.0)
    # Busy all the time, so that something is in flight whenever it is told to end.
    busy = {"batch_by": "any", "max_batch_size": 20, "buffer_size": 60, "work": 0.01}
    service.do("subscribe", name=NAME, **busy).wait("connected")
    service.do("join").wait("joining")
    return service


def test_a_program_started_again_right_after_kill_9_goes_on_without_an_operator(
    start: Start, observer: EventStore
) -> None:
    """G13, G14, G15, G16, G27: within lease and poll interval of the kill."""
    lease, poll_interval = 3.0, 1.5
    (writer,) = start(runtime="caller")
    writer.do("write", streams=["a", "b"], seed=9, pause=0.01)
    (killed,) = start(lease=lease, poll_interval=poll_interval)
    killed.do("subscribe", name=NAME, ack_every=3, max_batch_size=5)
    killed.wait("acking", count=3)
    moment = time.monotonic()
    killed.kill9()
    (again,) = start(lease=lease, poll_interval=poll_interval)
    again.do("subscribe", name=NAME, ack_every=3, max_batch_size=5)
    free = max(moment + lease, again.wait("ready")["at"])
    assert again.wait("subscribed")["at"] < free + poll_interval + PATIENCE
    acknowledged = max(report["position"] for report in killed.reports("acking"))
    assert again.wait("subscribed")["checkpoint"] <= acknowledged
    writer.do("stop").wait("written")
    stored = everything(observer)
    again.until(lambda: len(stored) in again.positions(NAME))
    delivered = {*killed.positions(NAME), *again.positions(NAME)}
    assert delivered == set(range(1, len(stored) + 1))
    assert_runs(killed)
    assert_runs(again)
