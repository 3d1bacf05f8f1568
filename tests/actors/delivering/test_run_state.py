"""The state of a delivery run."""

from __future__ import annotations

import math
from uuid import uuid4

from eventstore.model.subscription import SubscriptionOptions, SubscriptionState
from eventstore.ports.ownership import Fence
from eventstore_actors.delivering.delivery import Delivery, Limits
from eventstore_actors.delivering.run_state import Replay, Run


def caught_up() -> Delivery:
    subject = Delivery(0, 0, Limits.of(SubscriptionOptions()))
    assert subject.begin_read()
    subject.end_read(exhausted=True)
    return subject


def test_it_is_not_live_while_new_events_wait_for_a_replay() -> None:
    """G32."""
    fresh = caught_up()
    replay = Replay("order-1", 1, fresh, None)
    run = Run(1, 1, Fence(1, uuid4(), 1), caught_up(), math.inf, 0.0, replay=replay)
    assert run.state(None) is SubscriptionState.LIVE

    fresh.announce(1)

    assert run.state(None) is SubscriptionState.CATCHING_UP
