"""The statements that store effects and checkpoints together, which `statements` makes complete."""

from __future__ import annotations

from psycopg.types.numeric import Int4, Int8

from eventstore.ports.effects import Batch
from eventstore.storages.postgres.moments import lock_wait

__all__ = ["BEGIN_BATCH", "LOOK_AT_HANDLED", "checkpoint_arguments", "look_arguments"]

BEGIN_BATCH = """
    SELECT {schema}.begin_batch(%b, %b, %b), owned, checkpoint, committed
      FROM {schema}.look_at_handled(%b, %b, %b, %b, %b)
     WHERE {proven}
"""

LOOK_AT_HANDLED = """
    SELECT owned, checkpoint, committed FROM {schema}.look_at_handled(%b, %b, %b, %b, %b)
     WHERE {proven}
"""


def checkpoint_arguments(batch: Batch, deadline: float) -> tuple[object, ...]:
    """Return the arguments of what stores the checkpoint of *batch*."""
    fence = batch.fence
    checkpoints = (Int8(batch.least), Int8(batch.after), Int8(batch.last))
    place = (Int8(fence.position_id), fence.owner, Int8(fence.epoch))
    return (Int4(lock_wait(deadline)), *place, *checkpoints)


def look_arguments(batch: Batch, transaction_id: Int8 | None) -> tuple[object, ...]:
    """Return the arguments of what reads the row of *batch*."""
    fence = batch.fence
    place = (Int8(fence.position_id), fence.owner, Int8(fence.epoch))
    return (*place, Int8(batch.last), transaction_id)
