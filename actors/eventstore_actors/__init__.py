"""The runtime of an event store: a tree of pykka actors.

`StoreSupervisor` is for applications with actors of their own. Everybody else connects with
`eventstore.EventStore.connect`, which finds `ActorRuntime` through its entry point.

The rooms follow the way of an event, from the top down:

- `actor_runtime`: the port to the facade.
- `supervising`: the supervisor, its children, and their restarts.
- `delivering`: one subscription, from its stored events to the subscriber that acknowledges.
- `appending`: from a caller's append to a commit.
- `announcing`: from a commit, here or in another process, to the subscriptions concerned.
- `owning`: claims, leases and checkpoints.
- `state`: what the threads of a runtime share.
- `kernel`: messages, the base class of the actors, the timer.
"""

from __future__ import annotations

from eventstore_actors.actor_runtime import ActorRuntime
from eventstore_actors.supervising.supervisor import StoreSupervisor

__all__ = ["ActorRuntime", "StoreSupervisor"]
