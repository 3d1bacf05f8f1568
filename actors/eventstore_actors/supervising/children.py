"""How each child of a supervisor is made."""

from __future__ import annotations

from typing import assert_never

import pykka

from eventstore.model.subscription import Subscription
from eventstore_actors.announcing.publisher import Publisher
from eventstore_actors.appending.writer import Writer
from eventstore_actors.delivering.subscription_actor import SubscriptionActor
from eventstore_actors.kernel.messages import Child, Ref
from eventstore_actors.owning.keeper import Keeper
from eventstore_actors.state.context import Seat, Surroundings

__all__ = ["start_permanent", "start_subscription"]


def start_permanent(child: Child, surroundings: Surroundings) -> Ref:
    """Start one of the children without which a store does not run."""
    match child:
        case Child.WRITER:
            return Writer.start(surroundings)
        case Child.PUBLISHER:
            return Publisher.start(surroundings)
        case Child.KEEPER:
            return Keeper.start(surroundings)
        case _:
            assert_never(child)


def start_subscription(
    surroundings: Surroundings, seat: Seat, reply: pykka.ThreadingFuture[Subscription] | None
) -> Ref:
    """Start the actor of a subscription; None for *reply*: it is a restart, nobody waits."""
    return SubscriptionActor.start(surroundings, seat, reply)
