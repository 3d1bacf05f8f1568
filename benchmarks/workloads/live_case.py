"""The cases of the live workloads, what their appends carry, and the latency that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.contenders.load import payload
from benchmarks.measuring.measure import percentile
from benchmarks.measuring.workload import Measurement

__all__ = ["PER_SECOND", "TIMEOUT", "WRITERS", "Live", "measurement", "stamped"]

PER_SECOND = 100
WRITERS = 10

TIMEOUT = 120.0
_SIZE = 130
"""Bytes of JSON, the time of the call included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """One case: pace of the appends, and number and kind of subscribers."""

    appends: int
    subscriptions: int = 1
    subscriber: Literal["actor", "function"] = "actor"
    loaded: bool = False
    """Whether 10 writers append without a pause; else there are 100 appends a second."""
    rounds: int | None = None

    @property
    def name(self) -> str:
        return f"{self.pace}, {self.listeners}"

    @property
    def pace(self) -> str:
        return f"{WRITERS} writers" if self.loaded else f"{PER_SECOND} appends/s"

    @property
    def listeners(self) -> str:
        return f"{self.subscriptions} x {self.subscriber}" if self.subscriptions else "answer alone"


def stamped(moment: float) -> dict[str, Any]:
    return payload(_SIZE - 30) | {"at": moment}


def measurement(case: Live, latencies: Sequence[float], cpu_seconds: float) -> Measurement:
    assert len(latencies) == case.appends * max(1, case.subscriptions), f"received {len(latencies)}"
    return Measurement(
        1_000 * percentile(latencies, 50),
        tuple(latencies),
        cpu_seconds=cpu_seconds,
        operations=len(latencies),
    )
