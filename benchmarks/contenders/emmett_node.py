"""Emmett: an event store on PostgreSQL for Node.js, run in a separate process.

Its callers are concurrent tasks of that process, not threads of this one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

from benchmarks.contenders.contender import Load, Place
from benchmarks.contenders.load import payload
from benchmarks.measuring.measure import Spell
from benchmarks.measuring.workload import Measurement

__all__ = ["Emmett"]

_FOLDER = Path(__file__).with_name("emmett")
_PACKAGE = _FOLDER / "node_modules/@event-driven-io/emmett-postgresql/package.json"
_END_TIMEOUT = 20.0


class Emmett:
    """One process of Node.js with the store and its pool."""

    name: ClassVar = "emmett"

    def __init__(self, dsn: str) -> None:
        self.address = dsn
        self._process = subprocess.Popen(
            ["node", "driver.mjs", _url(dsn)],
            cwd=_FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("node") is None:
            return "skipped, node is not installed"
        return None if _PACKAGE.exists() else "skipped, npm did not install it"

    @classmethod
    def version(cls) -> str:
        return f"emmett-postgresql {json.loads(_PACKAGE.read_text())['version']}"

    @classmethod
    def start(cls, place: Place) -> Self:
        started = cls(place.dsn)
        started._do("install")
        return started

    @classmethod
    def join(cls, address: str) -> Self:
        return cls(address)

    def close(self) -> None:
        self._process.communicate(timeout=_END_TIMEOUT)

    def append(self, load: Load, callers: int, seconds: float, start: float | None = None) -> Spell:
        begin = start or time.monotonic()
        done = self._do(
            "append",
            events=load.events,
            data=payload(load.size),
            existing=load.existing,
            callers=callers,
            seconds=seconds,
            wait=max(0.0, begin - time.monotonic()),
        )
        return _spell(begin, done)

    def read(self, stream: str, length: int, readers: int, seconds: float) -> Spell:
        begun = time.monotonic()
        return _spell(
            begun, self._do("read", stream=stream, length=length, readers=readers, seconds=seconds)
        )

    def fill(self, stream: str, number: int) -> None:
        self._do("fill", stream=stream, number=number, data=payload())

    def read_all(self) -> Measurement:
        done = self._do("readAll")
        read: int = done["read"]
        return Measurement(read / done["taken"], cpu_seconds=done["cpu"], operations=read)

    def _do(self, command: str, **options: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command, **options}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the driver ended with {self._process.wait()}"
        return json.loads(answer)


def _spell(begun: float, done: Any) -> Spell:
    return Spell(begun, begun + done["taken"], tuple(done["latencies"]), done["cpu"])


def _url(dsn: str) -> str:
    parts = conninfo_to_dict(dsn)
    login = quote(str(parts["user"]), safe="")
    if password := parts.get("password"):
        login += f":{quote(str(password), safe='')}"
    return f"postgresql://{login}@localhost/{parts['dbname']}?host={quote(str(parts['host']))}"
