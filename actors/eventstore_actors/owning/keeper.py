"""The one actor that renews leases and stores checkpoints, for all subscriptions of a runtime."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from eventstore.model.errors import EventStoreError
from eventstore.model.log import get_logger
from eventstore.ports.storage import Fence, KeeperSession, Kept, Progress
from eventstore_actors.kernel.actor import SupervisedActor, answer, try_tell
from eventstore_actors.kernel.messages import Keep, Ref, Release, Renewed, Tick, Touched
from eventstore_actors.kernel.timer import Alarm
from eventstore_actors.state.context import Context

__all__ = ["Keeper"]

COALESCING = 0.1
"""Seconds within which the progress of all subscriptions goes into one statement."""

RENEWALS = 3
"""Renewals per lease."""

log = get_logger()


@dataclass(slots=True)
class _Entry:
    """A fence of this runtime."""

    progress: Progress
    subscription: Ref
    stored: bool = False
    """Whether the row has this progress."""
    paused: bool = False
    """As the subscription was told last."""
    good_until: float = 0.0
    checkpoint: int = 0


class Keeper(SupervisedActor):
    """Writes what the subscriptions told it in one ordered statement, and tells them the answer.

    A database that is away is no crash: everything stays to be written, and is tried again.
    """

    def __init__(self, context: Context) -> None:
        super().__init__("keeper", context.supervisor)
        self._shared = context
        self._config = context.config
        self._entries: dict[Fence, _Entry] = {}
        self._session: KeeperSession | None = None
        self._away = False
        self._alarm = Alarm(context.timer, self.actor_ref, Tick())
        self._written_at = self._renewed_at = self._polled_at = time.monotonic()

    def setup(self) -> None:
        self._session = self._shared.storage.keeper_session()

    def receive(self, message: Any) -> None:
        match message:
            case Keep():
                self._take(message)
            case Release():
                self._release(message)
            case Touched():
                # A row may have been fenced, which only a renewal tells.
                self._renewed_at = -math.inf
                self._alarm.at(self._written_at + COALESCING)
            case Tick():
                if self._alarm.rang():
                    self._work()
            case _:
                raise TypeError(f"not for the keeper: {message!r}")

    def stopping(self, deadline: float) -> None:
        """Store what the subscriptions told last; they released what is theirs before."""
        self._write(self._changed(), min(deadline, self._deadline()))
        self.finish()

    def teardown(self, error: BaseException | None) -> None:  # noqa: ARG002 - a hook
        if self._session is not None:
            self._session.close()

    def undelivered(self, message: Any) -> None:
        if isinstance(message, Release):
            answer(message.done, False)

    # ── what it is told ──────────────────────────────────────────────────────────────────────

    def _take(self, message: Keep) -> None:
        fence = message.progress.fence
        entry = self._entries.get(fence)
        if entry is None:
            self._entries[fence] = _Entry(message.progress, message.subscription)
        else:
            entry.progress = message.progress
            entry.subscription = message.subscription
            entry.stored = False
        now = time.monotonic()
        self._alarm.at(now if message.urgent else max(now, self._written_at + COALESCING))

    def _release(self, message: Release) -> None:
        self._entries.pop(message.progress.fence, None)
        assert self._session is not None
        try:
            self._session.release([message.progress], self._deadline())
        except EventStoreError as error:
            self._note_away(error)
            answer(message.done, False)
        else:
            answer(message.done, True)

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        """Do what is due: renew everything, else store what changed; look at the pauses."""
        now = time.monotonic()
        if now >= self._renewal_at():
            if self._write(self._entries.values(), self._deadline()):
                self._renewed_at = now
        else:
            self._write(self._changed(), self._deadline())
        if now >= self._poll_at():
            self._polled_at = now
            self._poll_pauses()
        if self._entries:
            self._alarm.at(self._next_moment())

    def _next_moment(self) -> float:
        """Return when there is something to do, unless somebody tells more."""
        if self._away or self._changed():
            return time.monotonic() + COALESCING
        return min(self._renewal_at(), self._poll_at())

    def _renewal_at(self) -> float:
        return self._renewed_at + self._config.lease / RENEWALS

    def _poll_at(self) -> float:
        return self._polled_at + self._config.poll_interval

    def _changed(self) -> list[_Entry]:
        return [entry for entry in self._entries.values() if not entry.stored]

    def _write(self, entries: Iterable[_Entry], deadline: float) -> bool:
        """Renew and store; False if the storage could not be reached."""
        written = list(entries)
        if not written:
            return True
        progress = [entry.progress for entry in written]
        # A row that somebody locks is left out of the answer: it is tried again soon.
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
        entry.stored = True
        entry.paused = kept.paused
        entry.checkpoint = kept.checkpoint
        entry.good_until = good_until
        if not try_tell(entry.subscription, Renewed(kept, good_until, asked_at)):
            self._entries.pop(kept.fence, None)

    def _poll_pauses(self) -> None:
        """Tell those whose row was paused, resumed or deleted by another process."""
        assert self._session is not None
        by_id = {fence.subscription_id: entry for fence, entry in self._entries.items()}
        if not by_id:
            return
        asked_at = time.monotonic()
        try:
            paused = self._session.paused(list(by_id), self._deadline())
        except EventStoreError as error:
            self._note_away(error)
            return
        for subscription_id, entry in by_id.items():
            now_paused = paused.get(subscription_id)
            # Who was never renewed yet hears of it with the first renewal.
            if entry.good_until and now_paused != entry.paused:
                fence = entry.progress.fence
                owned = now_paused is not None
                kept = Kept(fence, owned, entry.checkpoint if owned else 0, bool(now_paused))
                self._tell(kept, entry.good_until, asked_at)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def _deadline(self) -> float:
        """Return when a renewal that got no answer is given up: in time for the next one."""
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
