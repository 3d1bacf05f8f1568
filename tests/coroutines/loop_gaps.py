"""How often an event loop stands still, with a store and without one.

``python -m tests.coroutines.loop_gaps``: two services serve the same requests in turn, 200 of them
at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx

from eventstore import CallerRuntime, EventStore
from eventstore.embedded import EmbeddedServer
from tests.coroutines.loop_times import REPORT
from tests.coroutines.test_fastapi import LONGEST, REQUESTS, served
from tests.support.waiting import PATIENCE

ROUNDS = 7
EACH = 20
"""Requests of each of the tasks, one after the other."""
GAP = 0.020
"""Seconds."""


async def requests(socket: Path) -> None:
    transport = httpx.AsyncHTTPTransport(uds=str(socket), retries=3)

    async def place(task: int) -> None:
        for number in range(EACH):
            answer = await client.post(f"/orders/{os.urandom(8).hex()}-{task}-{number}", json={})
            assert answer.status_code == 201, answer

    async with httpx.AsyncClient(
        transport=transport, timeout=PATIENCE, base_url="http://shop"
    ) as client:
        await asyncio.gather(*[place(task) for task in range(REQUESTS)])


@dataclass(frozen=True)
class Served:
    """What a service measured while it was used."""

    timers: int
    gaps: list[float]
    """Seconds by which timers came too late, of those that did."""
    busy: int
    """Gaps for more than half of which the loop itself worked."""
    queued: int
    """Gaps for more than half of which it waited for a processor; else for the interpreter."""
    ours: list[float]
    """Processor time of each of our callbacks."""

    @property
    def share(self) -> float:
        return len(self.gaps) / self.timers

    def __str__(self) -> str:
        text = (
            f"{len(self.gaps)} of {self.timers:,} timers late by over {1_000 * GAP:.0f} ms,"
            f" the longest {1_000 * max(self.gaps, default=0.0):.0f} ms, {self.busy} by work of"
            f" the loop itself, {self.queued} by waiting for a processor"
        )
        if self.ours:
            over = sum(each > LONGEST for each in self.ours)
            text += (
                f"; {len(self.ours):,} callbacks of ours, the longest"
                f" {1_000 * max(self.ours):.2f} ms, {over} over {1_000 * LONGEST:.0f} ms"
            )
        return text


def measured(service: str, folder: Path) -> Served:
    socket, report = folder / "socket", folder / "report"
    socket.unlink(missing_ok=True)
    os.environ[REPORT] = str(report)
    with served(socket, service) as process:
        asyncio.run(requests(socket))
        process.terminate()
        process.communicate(timeout=PATIENCE)
    found = json.loads(report.read_text())
    gaps = [
        (late, busy, queued)
        for late, busy, queued in zip(found["late"], found["busy"], found["queued"], strict=True)
        if late > GAP
    ]
    return Served(
        timers=len(found["late"]),
        gaps=[late for late, *_ in gaps],
        busy=sum(busy > late / 2 for late, busy, _ in gaps),
        queued=sum(queued > late / 2 for late, _, queued in gaps),
        ours=found["ours"],
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with EmbeddedServer.start(folder / "server") as server:
            os.environ["EVENTSTORE_DSN"] = server.dsn
            EventStore.connect(server.dsn, init=True, runtime=CallerRuntime).close()
            shares: dict[str, list[float]] = {"empty": [], "grouped": [], "app": []}
            for number in range(ROUNDS):
                for service in sorted(shares, reverse=bool(number % 2)):
                    found = measured(service, folder)
                    shares[service].append(found.share)
                    print(f"{service:7}: {found}")
    for service, values in shares.items():
        print(f"{service:7}: median {100 * statistics.median(values):.2f} % of the timers late")


if __name__ == "__main__":
    main()
