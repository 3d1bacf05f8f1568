from __future__ import annotations

from dataclasses import replace

import pykka
import pytest

from eventstore import (
    CallerRuntime,
    Config,
    EventStore,
    HistoryRewoundError,
    NotRunningError,
    StoreFailed,
    SubscriptionLostError,
    SubscriptionState,
)
from eventstore_actors import ActorRuntime
from eventstore_actors.kernel.messages import Child, HistoryRewound
from eventstore_actors.supervising import supervisor
from tests.actors.application import NONSENSE, Application, Load, append_one, raise_in_thread
from tests.support.recorder import Recorder, Seen, Stuck
from tests.support.waiting import AGES, PATIENCE, wait_until


@pytest.mark.parametrize("child", Child)
def test_after_a_crash_everything_goes_on_where_the_storage_says(
    application: Application, store: EventStore, child: Child
) -> None:
    """OLD-01, OLD-04, G24: nothing is lost or given out twice by the crash of a part."""
    seen = Seen()
    subscription = store.subscribe_to_all_streams("all", seen.handle)
    append_one(store, 1)
    wait_until(lambda: subscription.checkpoint == 1)
    application.crash(child)
    append_one(store, 2)
    application.crash(child)
    append_one(store, 3)
    wait_until(lambda: subscription.checkpoint == 3)
    assert seen.positions == [1, 2, 3]
    wait_until(lambda: store.subscription_info("$all", "all").checkpoint == 3)
    assert store.health().running
    assert store.health().restarts == 2


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_after_a_crash_of_the_listener_events_of_other_processes_are_still_heard_of(
    dsn: str, schema: str, error: type[BaseException]
) -> None:
    """G24."""
    config = Config(dsn, schema=schema, poll_interval=0.2)
    seen = Seen()
    with (
        EventStore.connect(config, init=True) as store,
        EventStore.connect(config, runtime=CallerRuntime) as other,
    ):
        subscription = store.subscribe_to_all_streams("all", seen.handle)
        append_one(other, 1)
        wait_until(lambda: subscription.checkpoint == 1)
        raise_in_thread("eventstore-listener", error)
        wait_until(lambda: store.health().restarts == 1)
        append_one(other, 2)
        wait_until(lambda: subscription.checkpoint == 2)
        assert seen.positions == [1, 2]


def test_a_crashed_writer_answers_every_caller_and_the_next_one_takes_new_appends(
    application: Application, store: EventStore
) -> None:
    """G24: callers hear whether their append may be stored."""
    load = Load(store, 8)
    for _ in range(4):
        load.progress(20)
        application.crash(Child.WRITER)
    load.progress(20)
    told = {type(answer) for answer in load.end()}
    assert told == {type(None)}, "lost commit answers are retried with the same ids"
    assert store.health().queued_appends == 0


@pytest.mark.parametrize("child", Child)
def test_too_many_crashes_stop_everything_and_the_parent_and_all_callers_hear_why(
    config: Config, child: Child
) -> None:
    """G24: more crashes than the limit stop the runtime loudly."""
    with Application(replace(config, max_restarts=1)) as application:
        store = application.attach()
        seen = Seen()
        subscription = store.subscribe_to_all_streams("all", seen.handle)
        application.crash(child)
        application.find(child).tell(NONSENSE)
        told = application.told.get(timeout=PATIENCE)
        assert isinstance(told, StoreFailed)
        assert told.supervisor == application.supervisor
        assert isinstance(told.error, NotRunningError)
        assert isinstance(told.error.__cause__, TypeError)
        assert str(child) in str(told.error)
        for call in (
            lambda: append_one(store, 1),
            lambda: store.subscribe_to_all_streams("more", seen.handle),
            lambda: store.join(timeout=PATIENCE),
            lambda: subscription.join(timeout=PATIENCE),
            application.attach,
        ):
            with pytest.raises(NotRunningError, match=str(child)):
                call()
        assert subscription.state is SubscriptionState.STOPPED
        assert not store.health().running
        assert str(child) in str(store.health().failure)
        assert pykka.ActorRegistry.get_all() == [application.parent]


def test_a_supervisor_that_crashes_itself_leaves_nothing_half_alive(config: Config) -> None:
    """G24."""
    with Application(config) as application:
        store = application.attach()
        application.supervisor.tell(NONSENSE)
        told = application.told.get(timeout=PATIENCE)
        assert isinstance(told.error.__cause__, TypeError)
        with pytest.raises(NotRunningError, match="supervisor"):
            append_one(store, 1)


def test_history_that_went_back_stops_everything(
    application: Application, store: EventStore
) -> None:
    """G31."""
    error = HistoryRewoundError("position 7 is gone")
    application.supervisor.tell(HistoryRewound(error))
    assert application.told.get(timeout=PATIENCE) == StoreFailed(application.supervisor, error)
    with pytest.raises(HistoryRewoundError):
        append_one(store, 1)


def test_who_joins_hears_of_a_failure_when_the_subscribers_have(
    application: Application, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G31: else a program ends before its subscribers know why."""
    monkeypatch.setattr(supervisor, "_FAILURE_GRACE", AGES)
    stuck = Stuck()
    store.subscribe_to_all_streams("slow", stuck)
    append_one(store, 1)
    assert stuck.entered.wait(PATIENCE)
    application.supervisor.tell(HistoryRewound(HistoryRewoundError("position 7 is gone")))
    runtime = store._runtime
    assert isinstance(runtime, ActorRuntime)
    wait_until(lambda: runtime._tree.failure is not None)
    with pytest.raises(TimeoutError):
        store.join(timeout=0.2)
    stuck.released.set()
    with pytest.raises(HistoryRewoundError):
        store.join(timeout=PATIENCE)


def test_a_subscription_that_crashes_goes_on_with_handle_and_subscriber_at_its_checkpoint(
    store: EventStore,
) -> None:
    """G24: the events that were in flight are delivered again, nothing else is."""
    seen = Seen()
    recorder = Recorder.start(seen, acks=False)
    subscription = store.subscribe_to_all_streams("all", recorder)
    for number in (1, 2, 3):
        append_one(store, number)
    wait_until(lambda: seen.positions == [1, 2, 3])
    subscription.ack(2)
    wait_until(lambda: store.subscription_info("$all", "all").checkpoint == 2)
    crash_subscriptions()
    wait_until(lambda: seen.runs == 2 and seen.positions == [1, 2, 3, 3])
    subscription.ack(3)
    wait_until(lambda: subscription.checkpoint == 3)
    assert store.health().restarts == 1
    recorder.stop(timeout=PATIENCE)


def test_a_subscription_that_crashes_too_often_stops_alone(config: Config) -> None:
    """OLD-05, G24, G30: the runtime and the other subscriptions live on."""
    with Application(replace(config, max_restarts=0)) as application:
        store = application.attach()
        seen, other = Seen(), Seen()
        recorder = Recorder.start(seen)
        subscription = store.subscribe_to_stream("numbers", "doomed", recorder)
        wait_until(lambda: subscription.state is SubscriptionState.LIVE)
        crash_subscriptions()
        wait_until(lambda: subscription.state is SubscriptionState.STOPPED)
        assert isinstance(subscription.last_error, TypeError)
        with pytest.raises(SubscriptionLostError, match="crashed 1 times"):
            subscription.join(timeout=PATIENCE)
        wait_until(lambda: seen.lost)
        again = store.subscribe_to_all_streams("alive", other.handle)
        append_one(store, 1)
        wait_until(lambda: again.checkpoint == 1)
        assert other.positions == [1]
        assert application.told.empty()
        recorder.stop(timeout=PATIENCE)


def test_the_reason_of_a_failure_reaches_every_caller_at_once(
    application: Application, store: EventStore
) -> None:
    """No call ever waits for a store that has failed."""
    load = Load(store, 8)
    load.progress(20)
    application.supervisor.tell(NONSENSE)
    answers = load.wait()
    assert [type(answer) for answer in answers if answer is not None] == [NotRunningError] * 8
    assert application.told.get(timeout=PATIENCE)


def crash_subscriptions() -> None:
    crashed = pykka.ActorRegistry.get_by_class_name("SubscriptionActor")
    assert crashed
    for ref in crashed:
        ref.tell(NONSENSE)
