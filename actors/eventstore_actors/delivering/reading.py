"""Reads stored events and puts them into the delivery, by way of user code if there is any."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from eventstore.model.caught_error import CaughtError
from eventstore.model.errors import HistoryRewoundError, StorageUnavailableError
from eventstore.ports.reads import Examined
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.delivering.delivery import Delivery
from eventstore_actors.delivering.failed_events import failed_reading
from eventstore_actors.delivering.parked_keys import ParkedKeys
from eventstore_actors.delivering.preparing import Preparing, Steps
from eventstore_actors.delivering.read_request import Read
from eventstore_actors.delivering.run_state import Run
from eventstore_actors.kernel.lane import LANE
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
    failed: StoredEvent | None = None
    """That event."""


class SubscriptionReader:
    """Fills the deliveries of one subscription, from memory if it can, else from the storage.

    Where user code takes part, a `Preparing` has it prepare what was read.
    """

    def __init__(self, context: Context, seat: Seat, parked: ParkedKeys, subscription: Ref) -> None:
        steps = Steps(context.codec, seat.options)
        self._shared = context
        self._parked = parked
        self._stream_id = seat.handle.stream_id
        self._filter = None if steps.filtering is None else steps.filtering.event_filter
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
            events, up_to, at_end = self._next(run, wanted)
        except StorageUnavailableError:
            delivery.end_read(exhausted=False)
            raise
        run.away = False
        if events and self._runs_user_code:
            self.preparing.begin(events, up_to)
            return None
        failure = self._put_in(delivery, events)
        if failure is None and up_to > delivery.read_up_to:
            delivery.pass_over(up_to)
        # Of parked events, it is known which is the last.
        is_last = not events or (run.replay is not None and failure is None)
        delivery.end_read(exhausted=at_end and is_last)
        return _filled(delivery, events, failure, at_end=at_end)

    def _next(self, run: Run, wanted: Read) -> Examined:
        """Read new events, or the next parked ones of the key that is delivered again."""
        if run.replay is None:
            return self.read(wanted)
        events = self._parked.page(run, run.replay.key, wanted)
        up_to = events[-1].position if events else wanted.after
        return Examined(events, up_to, at_end=not events or up_to >= run.replay.up_to)

    def prepared(self, run: Run | None) -> Filled | None:
        """End the read whose page is prepared; None if it was for an earlier run."""
        page = self.preparing.end()
        if page is None or run is None:
            return None
        page.put_into(run.delivery)
        run.delivery.end_read(exhausted=False)
        return _filled(run.delivery, page.events, page.failure, at_end=False)

    def drop(self, delivery: Delivery) -> None:
        """End the read whose page user code still prepares; its events are read again."""
        if self.preparing.drop():
            delivery.end_read(exhausted=False)

    def read(self, wanted: Read) -> Examined:
        """Read from memory if it holds the events, else from the storage.

        Raises:
            StorageUnavailableError: The storage cannot be reached; retry later.
            HistoryRewoundError: The database lost events that were read before.
        """
        if self._must_check_history:
            self._check_history()
        held = self._shared.recent.after(
            self._stream_id, wanted.after, wanted.count, wanted.max_bytes
        )
        # The memory does not know what was linked to a stream.
        if held is None or (not held and wanted.after < wanted.announced):
            found = self._read_storage(wanted)
            newest: Sequence[StoredEvent] = found.events
        else:
            found = self._left_of(held, wanted.after)
            newest = held
        if newest:
            self._newest = (newest[-1].global_position, newest[-1].event_id)
        return found

    def _left_of(self, held: Sequence[StoredEvent], after: int) -> Examined:
        """Return what is to be delivered of events in memory, which follow each other."""
        if not held:
            return Examined([], after, at_end=True)
        wants = None if self._filter is None else self._filter.decide
        left = [event for event in held if wants is None or wants(event) is not False]
        return Examined(left, held[-1].position, at_end=False)

    def _put_in(self, delivery: Delivery, events: Sequence[StoredEvent]) -> CaughtError | None:
        """Decode *events* and put them into *delivery*; only where that runs no user code."""
        try:
            delivery.put_in_page(events, self._shared.codec.decode)
        except Exception as error:  # noqa: BLE001 - the subscription reports and retries it
            return CaughtError.of(error)
        return None

    def _read_storage(self, wanted: Read) -> Examined:
        try:
            return self._look(wanted, self._deadline())
        except StorageUnavailableError:
            self.check_history_first()
            raise

    def _look(self, wanted: Read, deadline: float) -> Examined:
        storage, page = self._shared.storage, (wanted.after, wanted.count, wanted.max_bytes)
        if self._filter is not None:
            return storage.read_matching_after(self._stream_id, *page, self._filter, deadline)
        events = storage.read_after(self._stream_id, *page, deadline)
        if events or wanted.after >= wanted.announced:
            up_to = events[-1].position if events else wanted.after
            return Examined(events, up_to, at_end=not events)
        # What is between was deleted if nothing is left after it.
        return Examined([], storage.end_after(self._stream_id, wanted.after, deadline), at_end=True)

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
        """Return the deadline of a call to the storage, for which the others do not wait."""
        LANE.leave()
        return time.monotonic() + self._shared.config.connect_timeout


def _filled(
    delivery: Delivery,
    events: Sequence[StoredEvent],
    failure: CaughtError | None,
    *,
    at_end: bool,
) -> Filled:
    """Return the result of a read that found *events*, all before the failed one put in."""
    if failure is None:
        return Filled(found=bool(events) or not at_end, failure=None)
    failed = next(event for event in events if event.position > delivery.read_up_to)
    return Filled(found=True, failure=failure.at(failed_reading(failed)), failed=failed)
