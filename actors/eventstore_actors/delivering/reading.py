"""Reads stored events and puts them into the delivery, by way of user code if there is any."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from eventstore.model.caught_error import CaughtError
from eventstore.model.errors import HistoryRewoundError, StorageUnavailableError
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.delivering.delivery import Delivery, Read
from eventstore_actors.delivering.failed_events import failed_reading
from eventstore_actors.delivering.preparing import Preparing, Steps
from eventstore_actors.delivering.run_state import Run
from eventstore_actors.kernel.messages import Ref
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat

__all__ = ["Filled", "SubscriptionReader"]


@dataclass(frozen=True, slots=True)
class Filled:
    """The result of a read whose events are in the delivery."""

    found: bool
    """There may be more after it."""
    failure: CaughtError | None
    """The error of an event that could not be prepared: it and all after it were left out."""


class SubscriptionReader:
    """Fills the deliveries of one subscription, from memory if it can, else from the storage.

    Where user code takes part, a `Preparing` has it prepare what was read.
    """

    def __init__(self, context: Context, seat: Seat, subscription: Ref) -> None:
        steps = Steps(context.codec, seat.options)
        self._shared = context
        self._stream_id = seat.handle.stream_id
        self._runs_user_code = not steps.are_plain
        self.preparing = Preparing(seat, steps, subscription)
        self._newest: tuple[int, UUID] | None = None
        """Global position and id of the event read last; the history must still contain it."""
        self._must_check_history = False

    def check_history_first(self) -> None:
        """Check before the next read that the database was not set back in time."""
        self._must_check_history = self._newest is not None

    def fill(self, run: Run) -> Filled | None:
        """Make one read for *run* if it is due.

        Returns:
            None if none was due, or if user code prepares what was found; a `Prepared` follows.

        Raises:
            StorageUnavailableError: The storage cannot be reached; retry later.
            HistoryRewoundError: The database lost events that were read before.
        """
        delivery, is_due = run.delivery, run.may_read() and not self.preparing.is_busy
        wanted = delivery.begin_read() if is_due else None
        if wanted is None:
            return None
        try:
            events = self.read(wanted)
        except StorageUnavailableError:
            delivery.end_read(exhausted=False)
            raise
        run.away = False
        if events and self._runs_user_code:
            self.preparing.begin(events)
            return None
        failure = self._put_in(delivery, events)
        delivery.end_read(exhausted=not events)
        return Filled(found=bool(events), failure=_placed(failure, delivery, events))

    def prepared(self, run: Run | None) -> Filled | None:
        """End the read whose page is prepared; None if it was for an earlier run."""
        page = self.preparing.end()
        if page is None or run is None:
            return None
        page.put_into(run.delivery)
        run.delivery.end_read(exhausted=False)
        return Filled(found=True, failure=_placed(page.failure, run.delivery, page.events))

    def drop(self, delivery: Delivery) -> None:
        """End the read whose page user code still prepares; its events are read again."""
        if self.preparing.drop():
            delivery.end_read(exhausted=False)

    def read(self, wanted: Read) -> Sequence[StoredEvent]:
        """Read from memory if it holds the events, else from the storage.

        Raises:
            StorageUnavailableError: The storage cannot be reached; retry later.
            HistoryRewoundError: The database lost events that were read before.
        """
        if self._must_check_history:
            self._check_history()
        found = self._shared.recent.after(
            self._stream_id, wanted.after, wanted.count, wanted.max_bytes
        )
        if found is None:
            found = self._read_storage(wanted)
        if found:
            self._newest = (found[-1].global_position, found[-1].event_id)
        return found

    def _put_in(self, delivery: Delivery, events: Sequence[StoredEvent]) -> CaughtError | None:
        """Decode *events* and put them into *delivery*; only where that runs no user code."""
        try:
            delivery.put_in_page(events, self._shared.codec.decode)
        except Exception as error:  # noqa: BLE001 - the subscription reports and retries it
            return CaughtError.of(error)
        return None

    def _read_storage(self, wanted: Read) -> tuple[StoredEvent, ...]:
        try:
            return tuple(
                self._shared.storage.read_after(
                    self._stream_id, wanted.after, wanted.count, wanted.max_bytes, self._deadline()
                )
            )
        except StorageUnavailableError:
            self.check_history_first()
            raise

    def _check_history(self) -> None:
        assert self._newest is not None
        position, event_id = self._newest
        if not self._shared.storage.history_holds(position, event_id, self._deadline()):
            raise HistoryRewoundError(
                f"the event {event_id} at position {position}, which was read before, is gone:"
                " the database went back in time"
            )
        self._must_check_history = False

    def _deadline(self) -> float:
        return time.monotonic() + self._shared.config.connect_timeout


def _placed(
    failure: CaughtError | None, delivery: Delivery, events: Sequence[StoredEvent]
) -> CaughtError | None:
    return None if failure is None else failure.at(failed_reading(delivery, events))
