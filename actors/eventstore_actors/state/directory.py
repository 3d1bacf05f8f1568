"""Where the children of a supervisor find each other: a restarted child has a new reference."""

from __future__ import annotations

from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Child, Ref

__all__ = ["Directory"]


class Directory:
    """The present writer, publisher and keeper; the supervisor writes it, everybody reads it.

    A child that is being restarted is missing. What is told to it then is lost, so nothing may
    depend on it: after the restart the supervisor tells the subscriptions `ChildRestarted`.
    """

    def __init__(self) -> None:
        self._refs: dict[Child, Ref] = {}

    def enter(self, child: Child, ref: Ref) -> None:
        self._refs[child] = ref

    def remove(self, child: Child) -> None:
        self._refs.pop(child, None)

    def find(self, child: Child) -> Ref | None:
        """Return the present reference; None while the child is being restarted."""
        return self._refs.get(child)

    def tell(self, child: Child, message: object) -> bool:
        """Tell the present child something; False if nobody is there to hear it."""
        return try_tell(self._refs.get(child), message)
