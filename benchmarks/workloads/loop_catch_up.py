"""Catch-up by coroutine functions, all of them in one loop."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

from benchmarks.contenders.load import ALL
from benchmarks.measuring.workload import Measurement, Round
from benchmarks.workloads.catch_up_case import TIMEOUT, CatchUp, is_rare
from eventstore import AsyncEventStore, Events

__all__ = ["catch_up_in_loop"]


def catch_up_in_loop(store: AsyncEventStore, case: CatchUp, _: Round) -> Measurement:
    """Run new subscriptions until everything is acknowledged; count the received events."""
    return asyncio.run(_catch_up(store, case))


async def _catch_up(store: AsyncEventStore, case: CatchUp) -> Measurement:
    [last] = await store.read_all_streams_backward(count=1)
    received = 0

    async def count(events: Events) -> None:
        nonlocal received
        received += len(events)

    cpu, begun = time.process_time(), time.perf_counter()
    subscriptions = [
        await store.subscribe_to_all_streams(
            f"catch-up-{uuid4()}",
            count,
            start_from=last.global_position - case.events,
            batch_by=case.batch_by,
            selector=is_rare if case.selects else None,
        )
        for _ in range(case.subscriptions)
    ]
    for subscription in subscriptions:
        await subscription.wait_for(last, TIMEOUT)
    taken, cpu_taken = time.perf_counter() - begun, time.process_time() - cpu
    for subscription in subscriptions:
        await subscription.unsubscribe()
        await store.delete_subscription(ALL, subscription.subscription_name)
    assert received == case.passing * case.subscriptions, f"received {received:,} events"
    total = case.events * case.subscriptions
    return Measurement(total / taken, cpu_seconds=cpu_taken, operations=total)
