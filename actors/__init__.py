"""The runtime of an event store as a tree of pykka actors.

`StoreSupervisor` is for applications with actors of their own; everybody else connects by
`eventstore.EventStore.connect`, which finds `ActorRuntime` by itself.
"""

from __future__ import annotations

from actors.runtime import ActorRuntime
from actors.supervisor import StoreSupervisor

__all__ = ["ActorRuntime", "StoreSupervisor"]
