"""What a subscription is given: what all of a runtime share, and its own seat in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from eventstore.client.codec import Codec
from eventstore.model.config import Config
from eventstore.ports.storage import Storage
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Child, Ref
from eventstore_actors.kernel.timer import Timer
from eventstore_actors.state.announcements import Announcements
from eventstore_actors.state.commit_turn import CommitTurn
from eventstore_actors.state.recent_events import RecentEvents

__all__ = ["Context", "Directory"]


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


@dataclass(frozen=True, slots=True)
class Context:
    """What all subscriptions of a runtime share."""

    config: Config
    storage: Storage
    codec: Codec
    recent: RecentEvents
    announcements: Announcements
    timer: Timer
    directory: Directory
    supervisor: Ref | None
    turn: CommitTurn = field(default_factory=CommitTurn)
