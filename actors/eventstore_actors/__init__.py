"""The runtime of an event store as a tree of pykka actors.

`StoreSupervisor` is for applications with actors of their own; everybody else connects by
`eventstore.EventStore.connect`, which finds `ActorRuntime` by itself.

The rooms, along the way of an event; each group begins with what is pure:

- Appending: `queue_limit`, `commit_plan`, `gathering`, `job`, `announcement`, `turn`; `appender` in
  the caller's thread, `writer`.
- Announcing: `recent`, `watchers`; `history`, `listener` is a thread, `publisher`.
- Delivering: `delivery`, `run`, `reasons`, `mailbox`, `acks`; `intake`, `outlet`, `courier`,
  `claim` and `reporter` are the hands of `subscription`; `subscriber` calls functions, `keeper`
  renews leases and stores checkpoints, `handle` is what users hold.
- Supervising: `restart`; `permanent` and `seats` keep the children, `children` makes them, `parts`
  orders their ends, `opener` opens the storage; `tree`, `directory` and `surroundings` are what
  they share; `health`; `supervisor`.
- For all: `messages`, `actor`, `timer`, `reply`, `callers`, `shutdown`; `runtime` is the port.
"""

from __future__ import annotations

from eventstore_actors.actor_runtime import ActorRuntime
from eventstore_actors.supervising.supervisor import StoreSupervisor

__all__ = ["ActorRuntime", "StoreSupervisor"]
