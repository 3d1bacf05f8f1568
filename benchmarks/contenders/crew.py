"""Callers in separate processes, each with its own connection to a started contender."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import suppress
from multiprocessing.connection import Connection

from benchmarks.contenders.contender import Contender, Load
from benchmarks.measuring.measure import Spell

__all__ = ["Crew"]

_BEGIN_AFTER = 0.05
_END_TIMEOUT = 20.0

_spawning = multiprocessing.get_context("spawn")


class Crew:
    """A number of processes; they start in the background."""

    def __init__(self, contender: Contender, size: int) -> None:
        self._connections: list[Connection] = []
        self._processes = []
        for _ in range(size):
            ours, theirs = _spawning.Pipe()
            self._connections.append(ours)
            member = _spawning.Process(
                target=_serve, args=(theirs, type(contender), contender.address), daemon=True
            )
            member.start()
            theirs.close()
            self._processes.append(member)

    def wait(self) -> None:
        """Wait until all are connected."""
        for connection in self._connections:
            connection.recv()

    def append(self, load: Load, callers: int, seconds: float) -> list[Spell]:
        """Append from *callers* in each process for *seconds*, all at the same time."""
        start = time.monotonic() + _BEGIN_AFTER
        for connection in self._connections:
            connection.send((load, callers, seconds, start))
        return [connection.recv() for connection in self._connections]

    def close(self) -> None:
        """End the processes; each closes its contender."""
        for connection in self._connections:
            with suppress(BrokenPipeError):  # the process failed and has printed why
                connection.send(None)
        for member in self._processes:
            member.join(_END_TIMEOUT)
            member.kill()  # if it still runs
            member.join()
            member.close()
        for connection in self._connections:
            connection.close()


def _serve(connection: Connection, kind: type[Contender], address: str) -> None:
    contender = kind.join(address)
    connection.send("ready")
    while (order := connection.recv()) is not None:
        load, callers, seconds, start = order
        connection.send(contender.append(load, callers, seconds, start))
    contender.close()
