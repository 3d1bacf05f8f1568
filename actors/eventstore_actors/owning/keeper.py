"""The actor that renews leases, stores checkpoints and watches for free subscriptions."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from eventstore.model.errors import EventStoreError
from eventstore.model.log import get_logger
from eventstore.ports.ownership import Fence, Kept, Progress, Standing
from eventstore.ports.storage import KeeperSession
from eventstore_actors.kernel.actor import SupervisedActor, answer, try_tell
from eventstore_actors.kernel.messages import (
    Changed,
    Erase,
    Flush,
    Keep,
    Ref,
    Release,
    Renewed,
    Seen,
    StandBy,
    Tick,
    Touched,
)
from eventstore_actors.kernel.timer import Alarm
from eventstore_actors.state.context import Context

__all__ = ["Keeper"]

COALESCING = 0.1
"""Seconds for which the progress of all subscriptions is collected into one statement."""

GATHERING = 0.005
"""Seconds for which releases are collected into one statement: subscriptions end one by one."""

LONGEST_LOOK = 1.0
"""Most seconds between two looks while a subscription waits for its owner, or after a failure."""

RENEWALS = 3
"""Renewals per lease."""

log = get_logger()


@dataclass(slots=True)
class _Entry:
    """An ownership of this runtime."""

    subscription_id: int
    progress: Progress
    subscription: Ref
    stored: bool = False
    """Whether the row holds this progress."""
    paused: bool = False
    """As it was sent to the subscription last."""
    good_until: float = 0.0
    checkpoint: int = 0


@dataclass(frozen=True, slots=True)
class _Locked:
    """A release of a position that somebody else has locked."""

    release: Release
    until: float
    """When to give up."""


class Keeper(SupervisedActor):
    """Keeps the rows of all subscriptions of a runtime, over one connection.

    One statement renews leases and stores checkpoints, and one ends ownerships. Once per
    `Config.poll_interval` one query, which writes nothing, reads the rows of owners and standbys.
    While the database is away everything is retried; it is no crash.
    """

    def __init__(self, context: Context) -> None:
        super().__init__("keeper", context.supervisor)
        self._shared = context
        self._config = context.config
        self._entries: dict[Fence, _Entry] = {}
        self._standbys: dict[int, StandBy] = {}
        """Standbys of this runtime, by position."""
        self._releases: list[Release] = []
        """Ownerships that are to end."""
        self._release_at = math.inf
        """When to end them."""
        self._touched = set[int]()
        """Subscriptions to look at with the next `Flush`."""
        self._locked: list[_Locked] = []
        """Ownerships that end when somebody else's transaction does."""
        self._unerased = False
        """There may be something to erase of what was deleted for good."""
        self._cannot_erase = False
        """The last attempt failed: the role may lack the rights."""
        self._session: KeeperSession | None = None
        self._away = False
        self._alarm = Alarm(context.timer, self.actor_ref, Tick())
        self._write_at = math.inf
        """When to store what changed, unless a renewal is due before."""
        self._written_at = self._renewed_at = self._looked_at = time.monotonic()

    def setup(self) -> None:
        self._session = self._shared.storage.keeper_session()

    def receive(self, message: Any) -> None:
        match message:
            case Keep():
                self._take(message)
            case StandBy():
                self._stand_by(message)
            case Release():
                self._release_soon(message)
            case Flush():
                self._look_at_touched()
            case Erase():
                self._unerased = True
                self._alarm.at(time.monotonic())
            case Touched(subscription_ids):
                self._touch(subscription_ids)
            case Tick():
                if self._alarm.rang():
                    self._work()
            case _:
                raise TypeError(f"not for the keeper: {message!r}")

    def stopping(self, deadline: float) -> None:
        """Store the last progress. The subscriptions have asked for their releases before."""
        self._release()
        self._write(self._changed(), min(deadline, self._deadline()))
        self.finish()

    def teardown(self, error: BaseException | None) -> None:  # noqa: ARG002 - a hook
        for release in self._releases + [each.release for each in self._locked]:
            answer(release.done, False)
        if self._session is not None:
            self._session.close()

    def undelivered(self, message: Any) -> None:
        if isinstance(message, Release):
            answer(message.done, False)

    # ── what it is told ──────────────────────────────────────────────────────────────────────

    def _take(self, message: Keep) -> None:
        fence = message.progress.fence
        self._standbys.pop(fence.position_id, None)
        entry = self._entries.get(fence)
        if entry is None:
            self._entries[fence] = _Entry(
                message.subscription_id, message.progress, message.subscription
            )
        else:
            entry.progress = message.progress
            entry.subscription = message.subscription
            entry.stored = False
        now = time.monotonic()
        due = now if message.urgent else max(now, self._written_at + COALESCING)
        self._write_at = min(self._write_at, due)
        self._alarm.at(due)

    def _stand_by(self, message: StandBy) -> None:
        self._standbys[message.position_id] = message
        self._alarm.at(self._look_at())

    # ── releasing ────────────────────────────────────────────────────────────────────────────

    def _release_soon(self, message: Release) -> None:
        """Collect releases: those of a moment share one statement, as when a store is closed."""
        self._entries.pop(message.progress.fence, None)
        self._releases.append(message)
        self._release_by(time.monotonic() + GATHERING)

    def _release_by(self, moment: float) -> None:
        self._release_at = min(self._release_at, moment)
        self._alarm.at(self._release_at)

    def _release(self) -> None:
        """End what is to end, again where a position was locked."""
        asked_at, patience = time.monotonic(), self._deadline()
        ending = [*self._locked, *(_Locked(each, patience) for each in self._releases)]
        self._locked, self._releases, self._release_at = [], [], math.inf
        if not ending:
            return
        assert self._session is not None
        try:
            locked = self._session.release([each.release.progress for each in ending], patience)
        except EventStoreError as error:
            self._note_away(error)
            for each in ending:
                answer(each.release.done, False)
            return
        self._note_back()
        released = [each.release for each in ending if each.release.progress.fence not in locked]
        self._shared.announcements.note_subscriptions(each.subscription_id for each in released)
        for release in released:
            answer(release.done, True)
        for each in ending:
            if each.release.progress.fence not in locked:
                continue
            if asked_at < each.until:
                self._locked.append(each)
            else:
                # Nobody renews its lease any more: that ends the ownership.
                answer(each.release.done, False)
        if self._locked:
            self._release_by(asked_at + COALESCING)

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        """Do what is due: end ownerships; renew all, else store what changed; look at the rows."""
        now = time.monotonic()
        if now >= self._release_at:
            self._release()
            now = time.monotonic()
        if now >= self._renewal_at():
            if self._write(self._entries.values(), self._deadline()):
                self._renewed_at = now
        elif now >= self._write_at:
            self._write(self._changed(), self._deadline())
        if now >= self._look_at():
            self._looked_at = now
            self._look(self._entries.values(), self._standbys.values())
        if self._entries or self._standbys:
            self._alarm.at(self._next_moment())
        if self._releases or self._locked:
            self._alarm.at(self._release_at)
        if self._unerased:
            self._erase()

    def _next_moment(self) -> float:
        """Return when the next work is due, if no message arrives before."""
        if not self._entries:
            return self._look_at()
        if self._changed():
            self._write_at = max(time.monotonic(), self._written_at + COALESCING)
            return self._write_at
        self._write_at = math.inf
        return min(self._renewal_at(), self._look_at())

    def _renewal_at(self) -> float:
        return self._renewed_at + self._config.lease / RENEWALS

    def _look_at(self) -> float:
        interval = self._config.poll_interval
        if self._standbys or self._away:
            interval = min(interval, LONGEST_LOOK)
        return self._looked_at + interval

    def _changed(self) -> list[_Entry]:
        return [entry for entry in self._entries.values() if not entry.stored]

    def _write(self, entries: Iterable[_Entry], deadline: float) -> bool:
        """Renew and store.

        Returns:
            False if the storage could not be reached.
        """
        written = list(entries)
        if not written:
            return True
        progress = [entry.progress for entry in written]
        # A locked row is missing from the answer, and is tried again soon.
        for entry in written:
            entry.stored = False
        assert self._session is not None
        sent_at = self._written_at = time.monotonic()
        try:
            answers = self._session.keep(progress, self._config.lease, deadline)
        except EventStoreError as error:
            self._note_away(error)
            return False
        self._note_back()
        for kept in answers:
            self._tell(kept, sent_at + self._config.lease, sent_at)
        return True

    def _tell(self, kept: Kept, good_until: float, asked_at: float) -> None:
        entry = self._entries[kept.fence]
        if not kept.owned:
            del self._entries[kept.fence]
        entry.stored = kept.stored
        entry.paused = kept.paused
        entry.checkpoint = kept.checkpoint
        entry.good_until = good_until
        if not try_tell(entry.subscription, Renewed(kept, good_until, asked_at)):
            self._entries.pop(kept.fence, None)

    # ── erasing ──────────────────────────────────────────────────────────────────────────────

    def _erase(self) -> None:
        """Erase a little, and go on after what is in the inbox meanwhile."""
        assert self._session is not None
        try:
            self._unerased = self._session.erase(self._deadline())
        except EventStoreError as error:
            self._unerased = False  # the publisher asks again while there is something
            if not self._cannot_erase:
                log.warning("deleted events cannot be erased here", error=repr(error))
            self._cannot_erase = True
            return
        self._cannot_erase = False
        if self._unerased:
            self._alarm.at(time.monotonic())

    # ── looking ──────────────────────────────────────────────────────────────────────────────

    def _touch(self, subscription_ids: frozenset[int]) -> None:
        """Collect changes: all that are in the inbox before the `Flush` share one look.

        Anybody may announce changes, as often as they like: that must not delay a renewal.
        """
        if not self._touched:
            self.actor_ref.tell(Flush())
        self._touched |= subscription_ids

    def _look_at_touched(self) -> None:
        """Look at the rows of those of the changed subscriptions that run here."""
        touched, self._touched = self._touched, set()
        self._look(
            [e for e in self._entries.values() if e.subscription_id in touched],
            [s for s in self._standbys.values() if s.subscription_id in touched],
        )
        for entry in tuple(self._entries.values()):
            if entry.subscription_id in touched:
                try_tell(entry.subscription, Changed())
        if self._away:
            self._alarm.at(self._look_at())

    def _look(self, entries: Iterable[_Entry], standbys: Iterable[StandBy]) -> None:
        """Read the rows and send owners and standbys what changed."""
        owned = {entry.progress.fence.position_id: entry for entry in entries}
        awaited = {standby.position_id: standby for standby in standbys}
        if not (owned or awaited):
            return
        assert self._session is not None
        asked_at = time.monotonic()
        try:
            found = self._session.look([*owned, *awaited], self._deadline())
        except EventStoreError as error:
            self._note_away(error)
            return
        self._note_back()
        for position_id, entry in owned.items():
            self._compare(entry, found.get(position_id), asked_at)
        for position_id, standby in awaited.items():
            standing = found.get(position_id)
            if not try_tell(standby.subscription, Seen(standing)) or standing is None:
                self._standbys.pop(position_id, None)

    def _compare(self, entry: _Entry, standing: Standing | None, asked_at: float) -> None:
        """Tell an owner that its row was paused, resumed, taken over, reset or deleted."""
        fence = entry.progress.fence
        # A restarted subscription may own the row with a newer fence than this one.
        if self._entries.get(fence) is not entry or not entry.good_until:
            return
        mark = None if standing is None else standing.mark
        owned = mark is not None and (mark.owner, mark.epoch) == (fence.owner, fence.epoch)
        paused = standing is not None and standing.paused
        if owned and paused == entry.paused:
            return
        checkpoint = entry.checkpoint if standing is not None else 0
        kept = Kept(fence, owned, entry.stored, checkpoint, paused)
        self._tell(kept, entry.good_until, asked_at)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def _deadline(self) -> float:
        """Return the deadline of a statement: in time for the next renewal."""
        patience = min(self._config.lease / RENEWALS, self._config.connect_timeout)
        return time.monotonic() + patience

    def _note_away(self, error: EventStoreError) -> None:
        if not self._away:
            self._away = True
            log.warning("leases cannot be renewed", error=repr(error))

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            log.info("leases are renewed again")
