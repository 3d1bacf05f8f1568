"""The port to a transaction of a caller's own, in which the store writes beside the caller's rows.

What waits is a coroutine. Over a blocking connection it never suspends, as `eventstore.ports.waits`
describes.
"""

from __future__ import annotations

from typing import Protocol

from eventstore.model.events import LinkResult
from eventstore.ports.changes import Deletion, Link
from eventstore.ports.stored_events import Append, Outcome, StoredEvent
from eventstore.ports.stored_snapshots import EncodedSnapshot
from eventstore.ports.waits import Waits

__all__ = ["CallerTransaction", "JoinsTransactions", "OpenTransaction"]


class OpenTransaction(Protocol):
    """What is remembered of a transaction until it has ended. It keeps no connection alive."""

    @property
    def transaction_id(self) -> int:
        """Its id in the database, by which another connection sees whether it has ended."""

    @property
    def may_be_open(self) -> bool:
        """Whether its connection still has a transaction: this one, or a later one."""


class CallerTransaction(Protocol):
    """The transaction that is open on a connection of a caller's, joined by the store."""

    @property
    def opened(self) -> OpenTransaction: ...

    async def append(self, append: Append, deadline: float) -> Outcome:
        """Store *append* when the transaction commits; the write lock is held until then.

        Raises:
            StorageError: The transaction is aborted. `StorageUnavailableError`: it may succeed if
                it is done again.
        """

    async def link(self, link: Link, deadline: float) -> LinkResult:
        """Link events when the transaction commits; else as `Storage.link`, and as `append`."""

    async def delete_stream(self, deletion: Deletion, deadline: float) -> None:
        """Delete a stream when the transaction commits; else as `Storage.delete_stream`.

        What is to be erased is left to the keeper of any process.
        """

    async def record_snapshot(
        self, stream_id: str, stream_version: int, snapshot: EncodedSnapshot, deadline: float
    ) -> bool:
        """Record a snapshot when the transaction commits; see `SnapshotStorage`."""

    async def delete_snapshot(self, stream_id: str, snapshot_type: str, deadline: float) -> bool:
        """Delete a snapshot when the transaction commits; see `SnapshotStorage`."""

    async def read_stream(
        self, stream_id: str, start: int, count: int, deadline: float
    ) -> list[StoredEvent]:
        """Read at most *count* events of a stream from version *start* on, as it sees them.

        Raises:
            StorageError: The transaction is aborted.
        """


class JoinsTransactions(Protocol):
    """The part of `Storage` that writes in transactions of callers."""

    async def join(self, connection: object, deadline: float, waits: Waits) -> CallerTransaction:
        """Join the transaction that is open on a connection of a caller's, to write in it.

        Args:
            connection: A connection of the storage's driver, or what leads to one.
            deadline: When to give up.
            waits: How the caller waits, and so which kind of connection it has to be.

        Raises:
            TypeError: *connection* is something else.
            ValueError: Nothing can be written in its transaction, which goes on. Or the storage
                has no transactions.
            StorageError: The transaction is aborted.
        """

    def in_progress(self, transaction_id: int, deadline: float) -> bool:
        """Return whether a transaction has not ended."""
