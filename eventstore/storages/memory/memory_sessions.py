"""The sessions of writer, keeper and listener with a store in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from eventstore.model.names import ALL_STREAMS
from eventstore.ports.announcing import Announced
from eventstore.ports.listening import Heard, KnownEvent, LinkedStream
from eventstore.ports.ownership import Fence, Kept, Progress, Standing
from eventstore.ports.stored_events import Append, Outcome, StoredEvent
from eventstore.storages.memory.shared_store import SharedStore
from eventstore.storages.memory.subscription_table import Moment

__all__ = ["MemoryAnnounceSession", "MemoryAppendSession", "MemoryKeeperSession", "MemoryListener"]


class MemoryAppendSession:
    """The writer's session: appends events."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store

    @property
    def connected(self) -> bool:
        return True

    def connect(self, deadline: float) -> None:
        """Nothing to connect to."""

    def append(self, appends: Sequence[Append], deadline: float) -> list[Outcome]:
        with self._store.changing(deadline):
            now = datetime.now(UTC)
            return [self._store.log.append(append, now) for append in appends]

    def announce(self, wait: float) -> None:
        """Do nothing: the append woke all listeners."""

    def close(self) -> None:
        """Nothing to give up."""


class MemoryKeeperSession:
    """The keeper's session: renews leases and stores checkpoints."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store

    def keep(self, progress: Sequence[Progress], lease: float, deadline: float) -> list[Kept]:
        with self._store.locked(deadline):
            return self._store.subscriptions.keep(progress, lease, Moment.now())

    def release(self, progress: Sequence[Progress], deadline: float) -> list[Fence]:
        with self._store.changing(deadline):
            for each in progress:
                if self._store.subscriptions.release(each):
                    self._store.touch(each.fence.position_id)
        return []

    def erase(self, deadline: float) -> bool:  # noqa: ARG002 - nothing to wait for
        """Do nothing: a deletion leaves nothing to erase."""
        return False

    def look(self, position_ids: Sequence[int], deadline: float) -> dict[int, Standing]:
        with self._store.locked(deadline):
            return self._store.subscriptions.look(position_ids, Moment.now())

    def close(self) -> None:
        """Nothing to give up."""


class MemoryAnnounceSession:
    """Does nothing: each change of the store wakes all listeners."""

    def announce(
        self,
        *,
        events: bool,  # noqa: ARG002 - the same
        subscriptions: Collection[int],  # noqa: ARG002 - the same
        deadline: float,  # noqa: ARG002 - the same
    ) -> Announced:
        return Announced.UNHEARD

    def committed(
        self,
        transactions: Collection[int],
        deadline: float,  # noqa: ARG002 - the same
    ) -> dict[int, bool]:
        return dict.fromkeys(transactions, True)

    def close(self) -> None:
        """Nothing to give up."""


class MemoryListener:
    """The listener's session: waits for new events and for changes of subscriptions."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self._connected = False
        self._prompt = True
        self._woken = False
        self._news = (0, 0, 0, 0)
        """Head, newest link, deletion and change of a subscription, as of the last look."""

    def wait(
        self, timeout: float, *, prompt: bool = True, known: KnownEvent | None = None
    ) -> Heard:
        """Wait as `HeadListener` documents; the first call returns at once."""
        with self._store.listening() as changed:
            if prompt is not self._prompt:
                self._prompt, self._connected = prompt, False
            if self._connected:
                changed.wait_for(self._has_news if prompt else self._was_woken, timeout)
            return self._heard(known)

    def read_all(
        self, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        with self._store.locked(deadline):
            return self._store.log.read_after(ALL_STREAMS, after, count, max_bytes)

    def linked(self, after: int, count: int, deadline: float) -> list[LinkedStream]:
        with self._store.locked(deadline):
            return self._store.log.linked(after, count)

    def wake(self) -> None:
        with self._store.listening() as changed:
            self._woken = True
            changed.notify_all()

    def close(self) -> None:
        """Nothing to give up."""

    def _has_news(self) -> bool:
        return self._woken or self._news != self._present()

    def _present(self) -> tuple[int, int, int, int]:
        store = self._store
        return store.log.head, store.log.link_no, store.log.deletion_no, store.newest_change

    def _was_woken(self) -> bool:
        return self._woken

    def _heard(self, known: KnownEvent | None) -> Heard:
        store = self._store
        heard = Heard(
            head=store.log.head,
            reconnected=not self._connected,
            touched=store.touched_after(self._news[-1]) if self._connected else frozenset(),
            newest=store.log.newest_id,
            deletion_no=store.log.deletion_no,
            link_no=store.log.link_no,
            holds=known is None or store.log.holds(*known),
        )
        self._news = self._present()
        self._connected, self._woken = True, False
        return heard
