"""The objects that all actors of a runtime share, and the directory of its permanent children."""

from __future__ import annotations

from dataclasses import dataclass, field

from eventstore.client.codec import Codec
from eventstore.model.config import Config
from eventstore.ports.storage import Storage
from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Child, Ref
from eventstore_actors.kernel.pulse import Pulse
from eventstore_actors.kernel.timer import Timer
from eventstore_actors.state.announcements import Announcements
from eventstore_actors.state.commit_turn import CommitTurn
from eventstore_actors.state.lone_turn import LoneTurn
from eventstore_actors.state.recent_events import RecentEvents

__all__ = ["Context", "Directory"]


@dataclass(frozen=True, slots=True)
class Context:
    """The objects that all actors of a runtime share."""

    config: Config
    storage: Storage
    codec: Codec
    recent: RecentEvents
    announcements: Announcements
    timer: Timer
    directory: Directory
    supervisor: Ref | None
    turn: CommitTurn = field(default_factory=CommitTurn)
    lone_turn: LoneTurn = field(default_factory=LoneTurn)
    listening: Pulse = field(default_factory=Pulse)
    """Awaits the end of what the listener does at present."""


class Directory:
    """The current writer, publisher and keeper. The supervisor writes it, any thread reads it.

    A child that is being restarted is missing, and messages to it are lost. So the supervisor
    tells the subscriptions `ChildRestarted` afterwards.
    """

    def __init__(self) -> None:
        self._refs: dict[Child, Ref] = {}

    def enter(self, child: Child, ref: Ref) -> None:
        self._refs[child] = ref

    def remove(self, child: Child) -> None:
        self._refs.pop(child, None)

    def find(self, child: Child) -> Ref | None:
        """Return the child's reference; None while it is being restarted."""
        return self._refs.get(child)

    def tell(self, child: Child, message: object) -> bool:
        """Send *message* to *child*; return False if the child is missing or dead."""
        return try_tell(self._refs.get(child), message)
