"""A subscriber that follows another one in the same runtime."""

from __future__ import annotations

import threading

import pykka
import pytest

from eventstore import EventStore, SubscriptionNotFoundError, SubscriptionState
from eventstore.model.errors import EventStoreError
from eventstore_actors.delivering.subscription_actor import SubscriptionActor
from eventstore_actors.kernel.messages import Subscribe, Unsubscribe
from eventstore_actors.supervising.subscriptions import Subscriptions
from tests.actors.application import append_one
from tests.support.recorder import Seen
from tests.support.waiting import PATIENCE, wait_until

NAME = "shipping"


def test_a_handle_that_is_out_of_date_stops_nobody_else(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F9, F12, G17: its request was under way while a successor was seated."""
    old = store.subscribe_to_all_streams(NAME, Seen().handle)
    late: list[Unsubscribe] = []
    monkeypatch.setattr(
        "eventstore_actors.state.subscription_handle.try_tell",
        lambda _, message: late.append(message),
    )
    old.unsubscribe()
    monkeypatch.undo()
    store.delete_subscription("$all", NAME)
    seen = Seen()
    new = store.subscribe_to_all_streams(NAME, seen.handle)

    [supervisor] = pykka.ActorRegistry.get_by_class_name("StoreSupervisor")
    supervisor.tell(late[0])

    with pytest.raises(SubscriptionNotFoundError):
        late[0].reply.get(timeout=PATIENCE)
    append_one(store, 1)
    assert seen.wait(1) == [1]
    new.unsubscribe()
    assert new.state is SubscriptionState.STOPPED


def test_who_subscribes_while_the_actor_of_a_deleted_subscription_ends_gets_its_seat(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G16, G17: its handle says that it has stopped; the supervisor has not heard of that yet."""
    first, second = Seen(), Seen()
    old = store.subscribe_to_all_streams(NAME, first.handle)
    asked = threading.Event()
    close_outlet, subscribe = SubscriptionActor._close_outlet, Subscriptions.subscribe

    def close_later(self: SubscriptionActor, reason: EventStoreError) -> None:
        close_outlet(self, reason)
        asked.wait(PATIENCE)

    def subscribe_and_go_on(self: Subscriptions, message: Subscribe) -> None:
        subscribe(self, message)
        asked.set()

    monkeypatch.setattr(SubscriptionActor, "_close_outlet", close_later)
    monkeypatch.setattr(Subscriptions, "subscribe", subscribe_and_go_on)
    store.delete_subscription("$all", NAME)
    wait_until(lambda: old.state is SubscriptionState.STOPPED)

    new = store.subscribe_to_all_streams(NAME, second.handle)

    assert new is not old
    append_one(store, 1)
    assert second.wait(1) == [1]
    assert first.positions == []
