"""The port to transactions in which a handler's writes and its checkpoint commit together.

What waits is a coroutine. Over a blocking connection it never suspends, as `eventstore.ports.waits`
describes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from eventstore.model.events import LinkResult
from eventstore.ports.changes import Link
from eventstore.ports.ownership import Fence
from eventstore.ports.stored_events import Append, Outcome
from eventstore.ports.waits import Waits

__all__ = ["Batch", "Effects", "HandledBeforeError", "Processed", "Settled", "Settlement"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Events whose effects and whose checkpoint belong together."""

    fence: Fence
    least: int
    """The stored checkpoint is at least this, unless the database was set back."""
    after: int
    """The position before the first event. A checkpoint beyond it: some of them were handled."""
    last: int
    """The position of the last event."""


class Settlement(Enum):
    """What became of a batch."""

    DONE = "done"
    """Its effects are stored, by this attempt or by one before."""
    PARTLY = "partly"
    """The effects of its first events are stored, by another attempt."""
    FENCED = "fenced"
    """It belongs to another owner, or the database was set back. Nothing was stored."""
    ENDED = "ended"
    """The handler ended the transaction itself, so its effects are stored without a checkpoint."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a batch, and the stored checkpoint."""

    how: Settlement
    checkpoint: int


@dataclass(frozen=True, slots=True)
class Processed:
    """What was stored together with a checkpoint."""

    result: Outcome | LinkResult | None
    """A refusal of an append: then nothing was stored. None: the checkpoint alone."""
    transaction_id: int | None = None
    """The transaction that others may not have heard of."""


class HandledBeforeError(Exception):
    """The checkpoint was not stored, nor anything else; *checkpoint* None: of another owner."""

    def __init__(self, checkpoint: int | None) -> None:
        super().__init__(checkpoint)
        self.checkpoint = checkpoint


class Effects(Protocol):
    """The part of `Storage` that handles batches exactly once."""

    def check_effects(self) -> None:
        """Return if the storage has transactions.

        Raises:
            ValueError: It has none.
        """

    async def checkpoint(
        self, batch: Batch, connection: object, deadline: float, waits: Waits
    ) -> bool:
        """Store the checkpoint in the transaction that is open on a caller's connection.

        Returns:
            False: it belongs to another owner, or was handled before. The transaction is aborted.

        Raises:
            TypeError, ValueError, StorageError: As `JoinsTransactions.join`.
        """

    async def settle(self, batch: Batch, failure: BaseException | None, waits: Waits) -> Settled:
        """Return what became of *batch*, whose handler has a transaction of its own.

        Args:
            batch: What it handled.
            failure: What it raised; None if it returned.
            waits: How the caller waits.

        Raises:
            BaseException: *failure*, as nothing was stored; or as it is not known, and the next
                attempt will tell.
            RuntimeError: It returned, and nothing was stored.
            StorageError: It returned, and the next attempt will tell.
        """

    async def process(
        self, batch: Batch, change: Append | Link | None, deadline: float, waits: Waits
    ) -> Processed:
        """Store *change* and the checkpoint of *batch* together, or neither.

        Raises:
            HandledBeforeError: The batch belongs to another owner, or was handled before.
            EventStoreError: Nothing was stored: the link is refused, or there is no storage.
            OutcomeUnknownError: Both may be stored.
        """

    async def handle(
        self, batch: Batch, handler: Callable[[Any], Awaitable[object]], idle: float, waits: Waits
    ) -> Settled:
        """Call *handler* with a connection, store the checkpoint in its transaction, and commit.

        Args:
            batch: What the handler handles.
            handler: Takes a connection of the storage's driver, in a transaction.
            idle: Seconds for which the transaction may be idle before the storage ends it.
            waits: How the caller waits, and so which kind of connection it gets.

        Raises:
            BaseException: From *handler*, as it is. Nothing was stored.
            RuntimeError: The handler left the connection in a state in which it cannot commit.
            StorageError: Nothing was stored; or it is not known, and the next attempt will tell.
        """
