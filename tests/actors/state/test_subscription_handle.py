from __future__ import annotations

import gc
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pykka
import pytest

from eventstore.client.targets import storage_for
from eventstore.model.caught_error import CaughtError
from eventstore.model.config import Config
from eventstore.model.deliveries import with_receipt
from eventstore.model.errors import (
    DeliveryTimeoutError,
    StorageUnavailableError,
    SubscriptionError,
    SubscriptionLostError,
    UnexpectedAckError,
)
from eventstore.model.events import AppendResult, RecordedEvent
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionState
from eventstore_actors.kernel.messages import Acknowledge, SetPaused
from eventstore_actors.state.subscription_handle import SubscriptionHandle
from tests.support.waiting import wait_until

LONG = 60.0


class Actor(pykka.ThreadingActor):
    """Hears what the handle tells its subscription."""

    use_daemon_thread = True

    def __init__(self, heard: queue.SimpleQueue[Any]) -> None:
        super().__init__()
        self.heard = heard

    def on_receive(self, message: Any) -> None:
        self.heard.put(message)
        if isinstance(message, SetPaused):
            message.reply.set(None)


@pytest.fixture
def heard() -> queue.SimpleQueue[Any]:
    return queue.SimpleQueue()


@pytest.fixture
def handle(heard: queue.SimpleQueue[Any]) -> Iterator[SubscriptionHandle]:
    """A handle of a run from 10 on that has sent everything up to 15."""
    config = Config("memory:", poll_interval=0.05)
    storage = storage_for(config)
    storage.open(init=True, deadline=time.monotonic() + LONG)
    actor = Actor.start(heard)
    handle = SubscriptionHandle(
        "order-1", "shipping", config=config, storage=storage, supervisor=None
    )
    handle.connect(actor)
    handle.run_started(1, 10)
    handle.progressed(SubscriptionState.LIVE, 10, 0)
    handle.sent(15)
    yield handle
    actor.stop(timeout=LONG)
    storage.close()


def event(position: int) -> RecordedEvent:
    return RecordedEvent(
        event_id=uuid4(),
        event_type="Happened",
        stream_id="order-1",
        stream_version=position,
        global_position=position + 100,
        position=position,
        data=None,
        metadata=None,
        causation_id=None,
        correlation_id=None,
        created_at=datetime.now(UTC),
    )


def delivered(handle: SubscriptionHandle, position: int) -> RecordedEvent:
    """Return an event that the present run delivered."""
    return with_receipt(event(position), handle.run, position)


def result(version: int) -> AppendResult:
    return AppendResult(
        stream_id="order-1",
        first_version=version,
        last_version=version,
        first_global_position=version,
        last_global_position=version,
    )


@pytest.mark.parametrize(
    "what",
    [
        lambda handle: 12,
        lambda handle: delivered(handle, 12),
        lambda handle: [delivered(handle, 11), delivered(handle, 12)],
        lambda handle: Events(handle, [event(11), event(12)], 12, handle.run),
        lambda handle: Events(handle, ["mapped"], 12, handle.run),  # type: ignore[list-item]
    ],
)
def test_it_acknowledges_what_it_is_given(
    handle: SubscriptionHandle,
    heard: queue.SimpleQueue[Any],
    what: Callable[[SubscriptionHandle], Any],
) -> None:
    """G19, SUB-12, SUB-19."""
    handle.ack(what(handle))

    assert heard.get(timeout=LONG) == Acknowledge(1, 12)


def test_what_is_acknowledged_until_its_actor_reads_is_one_message(
    handle: SubscriptionHandle, heard: queue.SimpleQueue[Any]
) -> None:
    """G19."""
    for position in (11, 12, 13):
        handle.ack(position)

    assert handle.newest_ack(heard.get(timeout=LONG)) == (1, 13)
    assert heard.empty()
    handle.ack(14)
    assert handle.newest_ack(heard.get(timeout=LONG)) == (1, 14)


def test_the_next_actor_hears_what_the_last_one_did_not_read(
    handle: SubscriptionHandle, heard: queue.SimpleQueue[Any]
) -> None:
    """G24: an acknowledgement counts, though the message before it was never read."""
    assert handle._actor is not None
    handle.ack(11)
    handle._actor.stop(timeout=LONG)
    successor = Actor.start(heard)
    handle.connect(successor)

    handle.ack(12)

    messages = [heard.get(timeout=LONG) for _ in range(2)]
    assert messages == [Acknowledge(1, 11), Acknowledge(1, 12)]
    successor.stop(timeout=LONG)


def test_no_acknowledgement_to_a_dead_actor_succeeds(handle: SubscriptionHandle) -> None:
    """G24: also when it follows one that was told in time."""
    assert handle._actor is not None
    handle.ack(11)
    handle._actor.stop(timeout=LONG)

    for _ in range(2):
        with pytest.raises(SubscriptionLostError, match="is being restarted"):
            handle.ack(12)


@pytest.mark.parametrize("what", [None, "12", True, 1.5, ["mapped"], object()])
def test_what_has_no_position_is_refused(handle: SubscriptionHandle, what: Any) -> None:
    with pytest.raises(TypeError, match="acknowledge an event, a list of events"):
        handle.ack(what)


def test_an_empty_list_is_refused(handle: SubscriptionHandle) -> None:
    with pytest.raises(ValueError, match="an empty list acknowledges nothing"):
        handle.ack([])


@pytest.mark.parametrize(
    "what",
    [
        lambda handle: event(12),
        lambda handle: [event(11), delivered(handle, 12)],
        lambda handle: Events(handle, [delivered(handle, 12)], 12),
    ],
)
def test_what_proves_no_delivery_is_refused_in_the_callers_thread(
    handle: SubscriptionHandle,
    heard: queue.SimpleQueue[Any],
    what: Callable[[SubscriptionHandle], Any],
) -> None:
    """F8, G19."""
    with pytest.raises(UnexpectedAckError, match="never delivered"):
        handle.ack(what(handle))

    assert heard.empty()


def test_what_an_earlier_run_delivered_is_refused_though_this_one_sent_it(
    handle: SubscriptionHandle, heard: queue.SimpleQueue[Any]
) -> None:
    """F9, G19: the event and the batch; a mapper may return the event once more."""
    old = delivered(handle, 12)
    batch = Events(handle, [old], 12, handle.run)
    handle.run_started(2, 10)
    handle.sent(15)

    for what in (old, [old], batch):
        with pytest.raises(SubscriptionLostError, match="position 12 of an earlier run"):
            handle.ack(what)
    assert heard.empty()
    handle.ack(with_receipt(old, handle.run, 12))
    assert heard.get(timeout=LONG) == Acknowledge(2, 12)


def test_a_delivered_event_holds_no_storage() -> None:
    """F8: whoever collects events keeps nothing else alive."""
    config = Config("memory:")
    storage = storage_for(config)
    handle = SubscriptionHandle(
        "order-1", "shipping", config=config, storage=storage, supervisor=None
    )
    kept = delivered(handle, 12)
    watch = weakref.ref(storage)

    del storage, handle
    gc.collect()

    assert kept.position == 12
    assert watch() is None


def test_what_was_not_sent_is_refused_in_the_callers_thread(
    handle: SubscriptionHandle, heard: queue.SimpleQueue[Any]
) -> None:
    """G19, BPR-04."""
    with pytest.raises(UnexpectedAckError, match="position 16 was not") as refused:
        handle.ack(16)

    assert refused.value.position == 16
    assert heard.empty()


@pytest.mark.parametrize("position", [10, 3, 0])
def test_what_is_acknowledged_already_is_told_to_nobody(
    handle: SubscriptionHandle, heard: queue.SimpleQueue[Any], position: int
) -> None:
    """G19."""
    handle.ack(position)

    assert heard.empty()


def test_a_position_below_0_is_refused_by_name(
    handle: SubscriptionHandle, heard: queue.SimpleQueue[Any]
) -> None:
    with pytest.raises(ValueError, match="position must be at least 0: -1"):
        handle.ack(-1)
    assert heard.empty()


def test_nothing_is_acknowledged_while_the_ownership_is_lost(handle: SubscriptionHandle) -> None:
    """G16."""
    handle.lost(SubscriptionLostError("fenced", "order-1", "shipping"))

    with pytest.raises(SubscriptionLostError, match="is no longer owned here: fenced"):
        handle.ack(12)
    assert handle.state is SubscriptionState.WAITING


def test_what_an_earlier_run_sent_is_lost_and_not_unexpected(handle: SubscriptionHandle) -> None:
    """G16: the subscriber did nothing wrong; the event comes again."""
    handle.run_started(2, 10)
    handle.sent(12)

    with pytest.raises(SubscriptionLostError, match="position 13 will be redelivered"):
        handle.ack(13)
    handle.ack(12)


def test_while_its_actor_is_restarted_nothing_is_acknowledged(handle: SubscriptionHandle) -> None:
    """G24."""
    assert handle._actor is not None
    handle._actor.stop(timeout=LONG)

    with pytest.raises(SubscriptionLostError, match="is being restarted"):
        handle.ack(12)


def in_thread(work: Callable[[], None]) -> queue.SimpleQueue[BaseException | None]:
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            ended.put(error)
        else:
            ended.put(None)

    threading.Thread(target=run, daemon=True).start()
    return ended


def test_who_waits_is_woken_by_the_acknowledgement(handle: SubscriptionHandle) -> None:
    ended = in_thread(lambda: handle.wait_for([result(11), result(12)], LONG))
    wait_until(lambda: handle._waiting)

    handle.progressed(SubscriptionState.LIVE, 11, 1)
    assert ended.empty()
    handle.progressed(SubscriptionState.LIVE, 12, 0)

    assert ended.get(timeout=LONG) is None


def test_who_waits_is_not_woken_by_every_batch_before_it(
    handle: SubscriptionHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: queue.SimpleQueue[float] = queue.SimpleQueue()
    settled = handle._is_settled

    def look(position: float) -> bool:
        if threading.current_thread() is not threading.main_thread():
            looked.put(position)
        return settled(position)

    monkeypatch.setattr(handle, "_is_settled", look)
    ended = in_thread(lambda: handle.join(LONG))
    looked.get(timeout=LONG)

    for position in range(11, 1_000):
        handle.progressed(SubscriptionState.LIVE, position, 1)
    handle.stopped(None)

    assert ended.get(timeout=LONG) is None
    assert looked.qsize() < 10


def test_who_waits_in_vain_learns_the_state_and_the_handlers_error(
    handle: SubscriptionHandle,
) -> None:
    """G30, G32."""
    handle.failed(CaughtError.of(ValueError("no stock")), 3)
    handle.progressed(SubscriptionState.RETRYING, 10, 0)

    with pytest.raises(DeliveryTimeoutError, match="no stock") as timed_out:
        handle.wait_for(event(12), 0.05)

    assert timed_out.value.state is SubscriptionState.RETRYING
    assert isinstance(timed_out.value.__cause__, ValueError)


def test_who_waits_for_a_subscription_that_stops_is_not_kept(handle: SubscriptionHandle) -> None:
    ended = in_thread(lambda: handle.wait_for(result(12), LONG))
    wait_until(lambda: handle._waiting)

    handle.stopped(None)

    assert isinstance(ended.get(timeout=LONG), DeliveryTimeoutError)


def test_join_raises_what_stopped_it(handle: SubscriptionHandle) -> None:
    reason = SubscriptionError("it broke", "order-1", "shipping")
    ended = in_thread(lambda: handle.join(LONG))
    wait_until(lambda: handle._waiting)

    handle.stopped(reason)

    assert ended.get(timeout=LONG) is reason
    assert handle.last_error is reason
    with pytest.raises(SubscriptionLostError):
        handle.ack(12)


def test_join_returns_when_it_was_asked_to_stop(handle: SubscriptionHandle) -> None:
    handle.stopped(None)

    handle.join(0)
    assert handle.last_error is None


def test_join_is_bounded(handle: SubscriptionHandle) -> None:
    with pytest.raises(TimeoutError, match="still runs after"):
        handle.join(0.01)


def test_pausing_waits_until_it_took_effect(
    handle: SubscriptionHandle, heard: queue.SimpleQueue[Any]
) -> None:
    """G20."""
    handle.pause()
    handle.resume()

    assert [heard.get(timeout=LONG).paused for _ in range(2)] == [True, False]


def test_what_has_stopped_cannot_be_paused(handle: SubscriptionHandle) -> None:
    assert handle._actor is not None
    handle._actor.stop(timeout=LONG)
    handle.stopped(None)

    with pytest.raises(SubscriptionLostError, match="has stopped"):
        handle.pause()


def test_pausing_is_bounded_while_its_actor_is_restarted() -> None:
    config = Config("memory:", connect_timeout=0.01)
    handle = SubscriptionHandle(
        "order-1", "shipping", config=config, storage=storage_for(config), supervisor=None
    )

    with pytest.raises(StorageUnavailableError, match="is being restarted"):
        handle.pause()


def test_health_shows_a_standstill(handle: SubscriptionHandle) -> None:
    """G32: seconds without progress count while there is something to do."""
    assert handle.health().seconds_without_progress == 0

    handle.progressed(SubscriptionState.FULL, 10, 5)

    wait_until(lambda: handle.health().seconds_without_progress > 0.01)
    assert handle.health().in_flight == 5
