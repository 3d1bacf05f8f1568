"""How a store fares, put together from what its parts show. Asks nobody."""

from __future__ import annotations

from eventstore.ports.runtime import Health
from eventstore_actors.state.store_state import Tree

__all__ = ["health_of"]


def health_of(tree: Tree, *, running: bool, restarts: int) -> Health:
    """Return how the store of *tree* fares.

    Args:
        tree: What its supervisor shares.
        running: Whether every part of it runs.
        restarts: Of all its parts, since the start.
    """
    reached = running and tree.recent.listening
    return Health(
        running=running,
        database_reachable=reached,
        head=tree.recent.head,
        queued_appends=tree.queue.queued_appends,
        queued_bytes=tree.queue.queued_bytes,
        restarts=restarts,
        listening=reached and not tree.recent.deaf,
        subscriptions=tuple(handle.health() for handle in tree.handles()),
        failure=None if tree.failure is None else str(tree.failure),
    )
