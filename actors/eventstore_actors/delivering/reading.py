"""From stored events to what is delivered: read, decode, select, map, put into the delivery."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID

from eventstore.model.errors import HistoryRewoundError, StorageUnavailableError
from eventstore.model.subscription import SubscriptionOptions
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.delivering.delivery import Delivery, Read
from eventstore_actors.state.context import Context

__all__ = ["SubscriptionReader"]


class SubscriptionReader:
    """Fills deliveries for one subscription. The newest events come from memory."""

    def __init__(self, context: Context, stream_id: str, options: SubscriptionOptions) -> None:
        self._shared = context
        self._stream_id = stream_id
        self._decode = context.codec.decode
        self._select = options.selector
        self._map = options.mapper
        self._is_plain = options.selector is None and options.mapper is None
        self._newest: tuple[int, UUID] | None = None
        """Global position and id of the event read last; it must never be another one."""
        self._is_suspect = False

    def suspect(self) -> None:
        """Look before the next read whether history is still what it was."""
        self._is_suspect = self._newest is not None

    def read(self, wanted: Read) -> Sequence[StoredEvent]:
        """Return what was *wanted*, from memory if that holds it, else from the storage.

        Raises:
            StorageUnavailableError: Read again later.
            HistoryRewoundError: The database lost events that were read before.
        """
        if self._is_suspect:
            self._check_history()
        found = self._shared.recent.after(
            self._stream_id, wanted.after, wanted.count, wanted.max_bytes
        )
        if found is None:
            found = self._read_storage(wanted)
        if found:
            self._newest = (found[-1].global_position, found[-1].event_id)
        return found

    def put_in(self, delivery: Delivery, events: Sequence[StoredEvent]) -> BaseException | None:
        """Put *events* into *delivery*; return what decoder, selector or mapper raised.

        What was before that event is put in, it and what follows is not. Nothing leaves it, not
        even a SystemExit: user code must not end the actor.
        """
        decode, select, transform = self._decode, self._select, self._map
        try:
            for stored in events:
                event = decode(stored)
                if self._is_plain:
                    delivery.put_in(stored.position, stored.stream_id, stored.size, event)
                elif select is not None and not select(event):
                    delivery.pass_over(stored.position)
                else:
                    mapped = event if transform is None else transform(event)
                    delivery.put_in(stored.position, stored.stream_id, stored.size, mapped)
        except BaseException as error:  # noqa: BLE001 - shown and retried by the subscription
            return error
        return None

    def _read_storage(self, wanted: Read) -> tuple[StoredEvent, ...]:
        try:
            return tuple(
                self._shared.storage.read_after(
                    self._stream_id, wanted.after, wanted.count, wanted.max_bytes, self._deadline()
                )
            )
        except StorageUnavailableError:
            self.suspect()
            raise

    def _check_history(self) -> None:
        assert self._newest is not None
        position, event_id = self._newest
        if not self._shared.storage.history_holds(position, event_id, self._deadline()):
            raise HistoryRewoundError(
                f"the event {event_id} at position {position}, which was read before, is gone:"
                " the database went back in time"
            )
        self._is_suspect = False

    def _deadline(self) -> float:
        return time.monotonic() + self._shared.config.connect_timeout
