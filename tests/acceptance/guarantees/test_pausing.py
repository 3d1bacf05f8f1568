"""Pausing: nothing is sent after it, from wherever it was asked for, until it is undone."""

from __future__ import annotations

import time

from pykka import ActorRef

from eventstore import EventData, EventStore, ExpectedVersion, SubscriptionState
from tests.acceptance.guarantees.conftest import QUICK, Record, Start, wait_for_checkpoint
from tests.support.recorder import Recorder, Seen, Stuck
from tests.support.waiting import PATIENCE, wait_until

NAME = "sub"
POLL: float = QUICK["poll_interval"]


def append(store: EventStore, count: int = 1) -> None:
    for number in range(count):
        store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", number)])


def test_after_pause_returned_no_batch_is_sent_and_resume_goes_on_after_the_last_sent(
    store: EventStore, record: Record
) -> None:
    """G20, G14: not what was read already, not after an ack; and nothing is sent twice."""
    seen, witness = Seen(), Seen()
    recorder = record(seen, acks=False)
    subscription = store.subscribe_to_all_streams(
        NAME, recorder, buffer_size=5, max_batch_size=2, batch_by="any"
    )
    store.subscribe_to_all_streams("witness", record(witness))
    append(store, 50)
    for round_ in range(1, 11):
        seen.wait(5 * round_)
        subscription.pause()
        subscription.ack(5 * round_)
        append(store)
        witness.wait(50 + round_)
        wait_for_checkpoint(store, 5 * round_)
        assert_nothing_was_sent(recorder, seen, 5 * round_)
        assert subscription.state is SubscriptionState.PAUSED
        assert store.subscription_info("$all", NAME).paused
        subscription.resume()
        assert not store.subscription_info("$all", NAME).paused
    assert seen.wait(55) == list(range(1, 56))


def test_a_pause_cuts_a_stream_of_events_at_once(store: EventStore, record: Record) -> None:
    """G20: in the middle of a catch-up, at any moment."""
    seen, witness = Seen(), Seen()
    recorder = record(seen)
    store.append_to_stream("s", 0, [EventData("X", number) for number in range(3_000)])
    subscription = store.subscribe_to_all_streams(NAME, recorder, max_batch_size=3)
    store.subscribe_to_all_streams("witness", record(witness), max_batch_size=500)
    for round_ in range(1, 6):
        seen.wait(200 * round_)
        subscription.pause()
        # What it was told before, it has received when it answers.
        recorder.ask("what was told before is here", timeout=PATIENCE)
        sent = len(seen.events)
        append(store)
        witness.wait(3_000 + round_)
        assert_nothing_was_sent(recorder, seen, sent)
        subscription.resume()
    assert seen.wait(3_005) == list(range(1, 3_006))


def assert_nothing_was_sent(recorder: ActorRef[Recorder], seen: Seen, since: int) -> None:
    recorder.ask("what was told before is here", timeout=PATIENCE)
    assert len(seen.events) == since


def test_a_batch_that_was_sent_may_finish_and_counts(store: EventStore) -> None:
    """G20: pause does not wait for a handler, nor throw away what it did."""
    stuck = Stuck()
    subscription = store.subscribe_to_all_streams(NAME, stuck)
    append(store)
    assert stuck.entered.wait(PATIENCE)
    subscription.pause()
    append(store, 3)
    stuck.released.set()
    wait_for_checkpoint(store, 1)
    assert stuck.positions == [1]
    assert subscription.state is SubscriptionState.PAUSED
    subscription.resume()
    wait_for_checkpoint(store, 4)
    assert stuck.positions == [1, 2, 3, 4]


def test_a_pause_from_another_process_takes_effect_soon_and_survives_restarts(
    start: Start, observer: EventStore
) -> None:
    """G20: within `poll_interval`; after a kill it goes on behind the checkpoint."""
    (service,) = start()
    service.do("subscribe", name=NAME, ack_every=0).do("subscribe", name="witness")
    append(observer, 4)
    service.wait_delivered(NAME, 4)
    service.do("ack", name=NAME, position=2).wait("acked")
    wait_for_checkpoint(observer, 2)

    paused_at = time.monotonic()
    observer.pause_subscription("$all", NAME)
    wait_until(lambda: service.do("look", name=NAME).reports("seen", state="paused"))
    assert time.monotonic() - paused_at < POLL + PATIENCE
    append(observer, 4)
    service.wait_delivered("witness", 8)
    assert len(service.delivered(NAME)) == 4
    # What is in flight may be acknowledged.
    service.do("ack", name=NAME, position=3).wait("acked", position=3)
    wait_for_checkpoint(observer, 3)
    service.kill9()

    (restarted,) = start()
    restarted.do("subscribe", name=NAME).do("subscribe", name="witness")
    restarted.wait("connected", name=NAME)
    append(observer, 1)
    restarted.until(
        lambda: restarted.delivered("witness")[-1:] and restarted.delivered("witness")[-1][0] == 9
    )
    assert restarted.delivered(NAME) == []
    info = observer.subscription_info("$all", NAME)
    assert (info.paused, info.checkpoint) == (True, 3)

    resumed_at = time.monotonic()
    observer.resume_subscription("$all", NAME)
    restarted.wait_delivered(NAME, 6)
    assert time.monotonic() - resumed_at < POLL + PATIENCE
    assert restarted.positions(NAME) == list(range(4, 10))


def test_a_paused_subscription_that_nobody_runs_stays_paused(
    observer: EventStore, store: EventStore, record: Record
) -> None:
    """G20: paused while it was away."""
    seen = Seen()
    store.subscribe_to_all_streams(NAME, record(seen)).unsubscribe()
    observer.pause_subscription("$all", NAME)
    append(store, 2)
    again = Seen()
    subscription = store.subscribe_to_all_streams(NAME, record(again))
    assert subscription.state is SubscriptionState.PAUSED
    subscription.resume()
    wait_until(lambda: again.positions == [1, 2])
    assert seen.positions == []
