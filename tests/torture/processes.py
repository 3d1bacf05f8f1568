"""Starts, signals, replaces and ends the writer and reader processes of a torture."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from eventstore import Config
from tests.support.forked import Forked
from tests.torture.journal import Entry, entries

__all__ = ["PREFIX", "Crew", "Process", "Program", "Ways"]

PREFIX = "torture-"
"""Prefix of the application names of all their connections."""


class Program(StrEnum):
    WRITER = "writers"
    READER = "readers"


@dataclass(frozen=True, slots=True)
class Process:
    """One process; its name contains its program, its place and its generation."""

    program: Program
    index: int
    name: str
    journal: Path
    forked: Forked

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a no-op if the process has ended."""
        self.forked.send_signal(number)

    def kill9(self) -> None:
        self.forked.kill()
        self.forked.wait(10)

    @property
    def is_ready(self) -> bool:
        return self.ready_at is not None

    @property
    def ready_at(self) -> float | None:
        """The moment of its first connection; None if there was none."""
        return next((entry["at"] for entry in self.entries() if entry["what"] == "ready"), None)

    def entries(self) -> Iterator[Entry]:
        return entries(self.journal)


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways to the server."""

    near: str
    remote: str
    """Through the proxy."""
    listening: str
    """Through the proxy for listening."""
    elsewhere: str
    """To another database, where nobody announces anything."""

    def of(self, index: int) -> tuple[str, str]:
        """Return the ways of a process with this index: to the store, and for listening."""
        match index % 4:
            case 0:
                return self.near, self.listening
            case 2:
                return self.near, self.elsewhere
            case _:
                return self.remote, self.remote


class Crew:
    """All processes, dead and alive. Those with an odd index use the proxy.

    The places of those with an even index listen through a proxy of its own, or where no store is.
    """

    def __init__(self, folder: Path, seed: int, settings: dict[str, Any], ways: Ways) -> None:
        self._folder = folder
        self._seed = seed
        self._settings = settings
        self._ways = ways
        self.alive: list[Process] = []
        self.past: list[Process] = []
        self.incidents: list[str] = []

    def start(self, program: Program, index: int) -> Process:
        """Start the next generation of a process."""
        generation = sum(1 for p in self.all if (p.program, p.index) == (program, index))
        name = f"{PREFIX}{program}-{index}-{generation}"
        journal = self._folder / f"{name}.jsonl"
        dsn, listen_dsn = self._ways.of(index)
        settings = {
            **self._settings,
            "dsn": make_conninfo(dsn, application_name=name),
            "listen_dsn": make_conninfo(listen_dsn, application_name=f"{name}-listen"),
        }
        numbers = [str(index), str(self._seed * 1_000 + len(self.all))]
        with (self._folder / f"{name}.log").open("wb") as log, Path(os.devnull).open("rb") as null:
            forked = Forked(
                f"tests.torture.{program}",
                [str(journal), json.dumps(settings), *numbers],
                environment=os.environ,
                streams=(null.fileno(), log.fileno(), log.fileno()),
            )
        process = Process(program, index, name, journal, forked)
        self.alive.append(process)
        return process

    @property
    def schema(self) -> str:
        return str(self._settings["schema"])

    @property
    def config(self) -> Config:
        """The settings of a process that uses the near way."""
        return Config(dsn=self._ways.near, **self._settings)

    @property
    def all(self) -> list[Process]:
        return [*self.past, *self.alive]

    @staticmethod
    def is_remote(index: int) -> bool:
        """Return whether a process with this index uses the proxy."""
        return index % 2 == 1

    def living(self, program: Program) -> list[Process]:
        return [process for process in self.alive if process.program is program]

    def replace(self, victim: Process) -> None:
        """Kill *victim* as a crash would, and start its successor."""
        victim.kill9()
        self._retire(victim)
        self.start(victim.program, victim.index)

    def end_oldest(self, program: Program, index: int) -> None:
        """End the older of two generations in order, unless it has been killed already."""
        oldest, *successors = [p for p in self.living(program) if p.index == index]
        if successors:
            self.end(oldest)

    def end(self, process: Process, timeout: float = 30.0) -> None:
        """End a process in order; an exit code other than 0 is an incident."""
        process.signal(signal.SIGCONT)
        process.signal(signal.SIGTERM)
        try:
            code = process.forked.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
            process.kill9()
        if code != 0 and (process.is_ready or process.program is Program.WRITER):
            self.incidents.append(f"{process.name} was told to end and exited with {code}")
        self._retire(process)

    def look(self) -> None:
        """Note every process that ended by itself as an incident, and start its successor."""
        for process in [p for p in self.alive if p.forked.poll() is not None]:
            self.incidents.append(f"{process.name} exited with {process.forked.returncode}")
            self._retire(process)
            self.start(process.program, process.index)

    def kill_all(self) -> None:
        for process in list(self.alive):
            process.kill9()
            self._retire(process)

    def crashes(self) -> Iterator[str]:
        """Yield the errors that threads crashed with."""
        for process in self.all:
            for entry in process.entries():
                if entry["what"] == "crashed":
                    yield f"{process.name}: {entry['error']}"

    def _retire(self, process: Process) -> None:
        self.alive.remove(process)
        self.past.append(process)
