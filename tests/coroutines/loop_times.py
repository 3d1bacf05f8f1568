"""How long callbacks hold an event loop, and how late its timers are; see `loop_gaps`."""

from __future__ import annotations

import asyncio
import json
import os
import time
from asyncio.events import Handle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

__all__ = ["REPORT", "reported"]

REPORT = "LOOP_TIMES"
"""Environment variable with the path of the report; without it nothing is measured."""

_BEAT = 0.005
"""Seconds between two timers whose delay is measured."""

_SCHEDULING = Path("/proc/thread-self/schedstat")

_PACKAGES = ("eventstore.", "eventstore_actors.")


@asynccontextmanager
async def reported() -> AsyncIterator[None]:
    """Measure the running loop, and write the report at the end.

    `ours`: processor time in seconds of each callback of this project. `late`: seconds by which
    each timer came too late, whoever held the loop or the processor; `busy`: the processor time
    that the loop itself used meanwhile; `queued`: seconds for which it waited for a processor.
    """
    path = os.environ.get(REPORT)
    if path is None:
        yield
        return
    ours: list[float] = []
    late: list[float] = []
    busy: list[float] = []
    queued: list[float] = []
    original = Handle._run

    def run(handle: Any) -> None:
        is_ours = _is_ours(handle._callback)
        began = time.thread_time()
        original(handle)
        if is_ours:
            ours.append(time.thread_time() - began)

    Handle._run = run  # type: ignore[assignment, method-assign]
    beating = asyncio.ensure_future(_beat(late, busy, queued))
    try:
        yield
    finally:
        beating.cancel()
        Handle._run = original  # type: ignore[method-assign]
        _write(Path(path), {"ours": ours, "late": late, "busy": busy, "queued": queued})


def _write(path: Path, report: dict[str, list[float]]) -> None:
    path.write_text(json.dumps(report))


def _is_ours(callback: Any) -> bool:
    """Tell whether *callback*, or the coroutine of the task that it wakes, is of this project."""
    while isinstance(callback, partial):
        callback = callback.func
    holder = getattr(callback, "__self__", None)
    if isinstance(holder, asyncio.Task):
        frame = getattr(holder.get_coro(), "cr_frame", None)
        return frame is not None and frame.f_globals["__name__"].startswith(_PACKAGES)
    module = type(holder).__module__ if holder is not None else callback.__module__
    return bool(f"{module}.".startswith(_PACKAGES))


async def _beat(late: list[float], busy: list[float], queued: list[float]) -> None:
    with _SCHEDULING.open() as scheduling:  # noqa: ASYNC230 - a file of the kernel, in memory
        while True:
            due, used, waited = time.monotonic() + _BEAT, time.thread_time(), _queued(scheduling)
            await asyncio.sleep(_BEAT)
            late.append(time.monotonic() - due)
            busy.append(time.thread_time() - used)
            queued.append(_queued(scheduling) - waited)


def _queued(scheduling: TextIO) -> float:
    """Return for how many seconds this thread has waited for a processor."""
    scheduling.seek(0)
    return int(scheduling.read().split()[1]) / 1e9
