"""Who is seated: nobody whose call has failed; and what is left of a seat whose actor crashed."""

from __future__ import annotations

import threading
from dataclasses import replace

import pykka
import pytest

from eventstore import (
    Config,
    Events,
    EventStore,
    StorageUnavailableError,
    Subscription,
    SubscriptionState,
)
from eventstore.model.subscription import SubscriptionOptions
from eventstore_actors import actor_runtime
from eventstore_actors.delivering.subscription_actor import SubscriptionActor
from eventstore_actors.kernel.actor import refuse
from eventstore_actors.kernel.messages import Subscribe
from tests.actors.application import NONSENSE, Application, append_one
from tests.actors.seated import Seated, append
from tests.support.recorder import Seen, Stuck
from tests.support.rooms import Ear, rooms_over, stop
from tests.support.waiting import PATIENCE, wait_until

Reply = pykka.ThreadingFuture[Subscription]


def refused() -> Reply:
    """Return the reply of a call that waits no longer."""
    reply = Reply()
    assert refuse(reply, StorageUnavailableError("too late"))
    return reply


# ── a call that failed ───────────────────────────────────────────────────────────────────────


def test_a_call_that_gave_up_before_it_was_read_seats_nobody(
    application: Application, store: EventStore
) -> None:
    """F44: `subscribe` has raised, so there is no subscription."""
    message = Subscribe("$all", "late", Seen().handle, SubscriptionOptions(), refused())
    application.supervisor.tell(message)
    assert store.health().subscriptions == ()
    assert store.subscriptions() == []


def test_a_call_that_gave_up_while_its_claim_was_answered_delivers_nothing() -> None:
    """F44: nor is its subscriber told anything."""
    with rooms_over(Config("memory:")) as rooms:
        append(rooms, 1)
        ear = Ear()
        seated = Seated(rooms, ear.ref)
        stop(seated.ref, 0)
        ear.so_far()
        actor = SubscriptionActor.start(rooms.shared, seated.seat, refused())
        wait_until(lambda: not actor.is_alive())
        assert ear.so_far() == []


def test_a_call_that_timed_out_is_not_seated_later_and_its_name_is_free(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F44: it waits for a predecessor whose handler does not return."""
    stuck, late, seen = Stuck(), Seen(), Seen()
    hung = store.subscribe_to_all_streams("all", stuck)
    append_one(store, 1)
    assert stuck.entered.wait(PATIENCE)
    (actor,) = pykka.ActorRegistry.get_by_class_name("SubscriptionActor")
    leaving = threading.Thread(target=hung.unsubscribe)
    with monkeypatch.context() as impatient:
        patience = 4 * store.config.connect_timeout + store.config.lease
        impatient.setattr(actor_runtime, "_GRACE", 0.001 - patience)
        leaving.start()
        wait_until(lambda: not actor.is_alive())
        with pytest.raises(StorageUnavailableError):
            store.subscribe_to_all_streams("all", late.handle)
    leaving.join(PATIENCE)
    stuck.released.set()
    wait_until(lambda: store.health().subscriptions == ())
    wait_until(lambda: store.subscription_info("$all", "all").owner is None)

    after = store.subscribe_to_all_streams("all", seen.handle)

    wait_until(lambda: after.checkpoint == 1)
    assert seen.positions == [1]
    assert late.positions == []


# ── a seat whose actor crashed too often ─────────────────────────────────────────────────────


def test_a_subscription_that_crashed_too_often_is_shown_and_its_row_is_free(
    config: Config,
) -> None:
    """F15, G24: nobody waits for its lease, and another process reads why it stopped."""
    config = replace(config, max_restarts=0, lease=60.0)
    with Application(config) as application:
        store = application.attach()
        subscription = store.subscribe_to_all_streams("all", Seen().handle)
        append_one(store, 1)
        wait_until(lambda: subscription.checkpoint == 1)
        (actor,) = pykka.ActorRegistry.get_by_class_name("SubscriptionActor")
        actor.tell(NONSENSE)
        wait_until(lambda: subscription.state is SubscriptionState.STOPPED)
        wait_until(lambda: store.subscription_info("$all", "all").owner is None)
        info = store.subscription_info("$all", "all")
        assert (info.state, info.checkpoint) == (SubscriptionState.STOPPED, 1)
        assert "unexpected message" in str(info.last_error)
        (shown,) = store.health().subscriptions
        assert shown.state is SubscriptionState.STOPPED
        assert "unexpected message" in str(shown.last_error)

        again = store.subscribe_to_all_streams("all", Seen().handle)
        append_one(store, 2)
        wait_until(lambda: again.checkpoint == 2)


def test_an_actor_that_somebody_stopped_is_shown(store: EventStore) -> None:
    """F15, F44: it ended, though nobody asked the store for it."""
    subscription = store.subscribe_to_all_streams("all", Seen().handle)
    (actor,) = pykka.ActorRegistry.get_by_class_name("SubscriptionActor")
    actor.stop(timeout=PATIENCE)
    wait_until(lambda: subscription.state is SubscriptionState.STOPPED)
    wait_until(lambda: [s.last_error for s in store.health().subscriptions] != [None])
    (shown,) = store.health().subscriptions
    assert "nobody asked it to" in str(shown.last_error)


def test_a_handler_may_unsubscribe_its_own_subscription(
    store: EventStore, caplog: pytest.LogCaptureFixture
) -> None:
    """F15: it is not waited for by itself, and nothing is left that is shown."""
    ended: list[SubscriptionState] = []

    def leave(events: Events) -> None:
        events.subscription.unsubscribe()
        ended.append(events.subscription.state)

    store.subscribe_to_all_streams("all", leave)
    append_one(store, 1)
    wait_until(lambda: ended == [SubscriptionState.STOPPED])
    wait_until(lambda: store.health().subscriptions == ())
    wait_until(lambda: not pykka.ActorRegistry.get_by_class_name("FunctionSubscriber"))
    assert "still running" not in caplog.text
