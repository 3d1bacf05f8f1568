"""The limit of handling: psycopg reads pages in one loop, writes, and commits with a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.contenders.bare import Bare
from eventstore import RecordedEvent
from eventstore.ports.effects import Batch
from eventstore.ports.ownership import Fence
from eventstore.storages.postgres.effect_statements import checkpoint_arguments

__all__ = ["BareHandler"]

_PATIENCE = 60.0


class BareHandler(Bare):
    """Writes a row per event, and stores one checkpoint per batch in the same transaction."""

    def handle_all(self, insert: str, most: int) -> int:
        """Handle every event in batches of *most*; return the number of events.

        Args:
            insert: The statement that writes a row of position and sku.
            most: Events of a batch.
        """
        fence, total = self._claim().fence, 0
        for batch in self._batches(most):
            rows = [(event.global_position, event.data["sku"]) for event in batch]
            with self.connection.transaction():
                self.connection.cursor().executemany(insert.encode(), rows)
                self._checkpoint(fence, batch)
            total += len(batch)
        return total

    def _batches(self, most: int) -> Iterator[list[RecordedEvent]]:
        """Yield batches of whole pages, or of parts of one."""
        after, read = 0, list[RecordedEvent]()
        while page := self._page_after(after):
            after = page[-1].position
            read += page
            while len(read) >= most:
                yield read[:most]
                read = read[most:]
        if read:
            yield read

    def _checkpoint(self, fence: Fence, events: list[RecordedEvent]) -> None:
        before = events[0].position - 1
        batch = Batch(fence, before, before, events[-1].position)
        deadline = time.monotonic() + _PATIENCE
        arguments = (*checkpoint_arguments(batch, deadline), None)
        [row] = self.execute(self.statements.checkpoint_in_transaction, arguments)
        assert row[0], "the checkpoint was not stored"
