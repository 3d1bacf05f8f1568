"""From stored events to what is delivered: read, decode, select, map, put into the delivery."""

from __future__ import annotations

import time
from collections.abc import Sequence

from actors.delivery import Delivery, Read
from actors.surroundings import Surroundings
from eventstore.storage import StoredEvent
from eventstore.subscription import SubscriptionOptions

__all__ = ["Intake"]


class Intake:
    """Fills a delivery for one subscription. The newest events come from memory."""

    def __init__(
        self, surroundings: Surroundings, stream_id: str, options: SubscriptionOptions
    ) -> None:
        self._shared = surroundings
        self._stream_id = stream_id
        self._decode = surroundings.codec.decode
        self._select = options.selector
        self._map = options.mapper
        self._is_plain = options.selector is None and options.mapper is None

    def fill(self, delivery: Delivery, read: Read) -> None:
        """Do the *read* that the delivery asked for, and end it.

        Raises:
            StorageUnavailableError: Nothing was put in; the read has to be done again.
            Exception: The decoder, selector or mapper raised; what was before it is put in.
        """
        exhausted = False
        try:
            events = self._read(read)
            exhausted = not events
            for event in events:
                self._put_in(delivery, event)
        finally:
            delivery.end_read(exhausted=exhausted)

    def _read(self, read: Read) -> Sequence[StoredEvent]:
        held = self._shared.recent.after(self._stream_id, read.after, read.count, read.max_bytes)
        if held is not None:
            return held
        deadline = time.monotonic() + self._shared.config.connect_timeout
        return self._shared.storage.read_after(
            self._stream_id, read.after, read.count, read.max_bytes, deadline
        )

    def _put_in(self, delivery: Delivery, stored: StoredEvent) -> None:
        event = self._decode(stored)
        if self._is_plain:
            delivery.put_in(stored.position, stored.stream_id, stored.size, event)
        elif self._select is not None and not self._select(event):
            delivery.pass_over(stored.position)
        else:
            mapped = event if self._map is None else self._map(event)
            delivery.put_in(stored.position, stored.stream_id, stored.size, mapped)
