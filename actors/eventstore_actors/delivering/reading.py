"""Reads stored events and prepares them for delivery: decode, select, map."""

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
    """Fills the deliveries of one subscription, from memory if it can, else from the storage."""

    def __init__(self, context: Context, stream_id: str, options: SubscriptionOptions) -> None:
        self._shared = context
        self._stream_id = stream_id
        self._decode = context.codec.decode
        self._select = options.selector
        self._map = options.mapper
        self._is_plain = options.selector is None and options.mapper is None
        self._newest: tuple[int, UUID] | None = None
        """Global position and id of the event read last; the history must still contain it."""
        self._must_check_history = False

    def check_history_first(self) -> None:
        """Check before the next read that the database was not set back in time."""
        self._must_check_history = self._newest is not None

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

    def put_in(self, delivery: Delivery, events: Sequence[StoredEvent]) -> BaseException | None:
        """Decode, select and map *events*, and put them into *delivery*.

        Returns:
            The error of decoder, selector or mapper, which leaves that event and all after it
            out; None if all went in. Nothing is raised, not even a SystemExit: user code must not
            end the actor.
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
        except BaseException as error:  # noqa: BLE001 - the subscription reports and retries it
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
