"""Opens the contenders of a group: one server, a fresh database and folder for each."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self, TypeVar, cast

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.contenders.bare import Bare
from benchmarks.contenders.contender import Contender, Place
from benchmarks.contenders.emmett_node import Emmett
from benchmarks.contenders.eventsourcing import EventSourcing
from benchmarks.contenders.ours import Ours
from benchmarks.contenders.ours_asyncio import OursAsyncio
from benchmarks.contenders.uma import Uma
from benchmarks.measuring.workload import Scale

__all__ = ["Arena"]

KINDS: tuple[type[Contender], ...] = (Ours, OursAsyncio, Bare, EventSourcing, Emmett, Uma)

C = TypeVar("C", bound=Contender)


class Arena:
    """The contenders of one group; a context manager."""

    def __init__(self, scale: Scale, server_dsn: str, folder: Path) -> None:
        self.scale = scale
        self._server_dsn = server_dsn
        self._folder = folder
        self._open: dict[type[Contender], Contender] = {}
        self._closing = ExitStack()

    def open(self, kind: type[C]) -> C:
        """Return this contender, starting it on the first call."""
        if kind not in self._open:
            self._open[kind] = kind.start(self.place(kind.name))
            self._closing.callback(self._open[kind].close)
        return cast(C, self._open[kind])

    def contenders(self) -> list[Contender]:
        """Open and return every contender that can run here."""
        return [self.open(kind) for kind in KINDS if kind.missing() is None]

    def place(self, name: str) -> Place:
        """Return a new folder, which can create a database; both are removed with the arena."""
        unique = f"{name}_{len(list(self._folder.iterdir()))}"
        folder = self._folder / unique
        folder.mkdir()
        self._closing.callback(shutil.rmtree, folder)
        return Place(folder, partial(self._create_database, unique))

    def _create_database(self, name: str) -> str:
        self._execute("CREATE DATABASE {}", name)
        self._closing.callback(self._execute, "DROP DATABASE {} WITH (FORCE)", name)
        return make_conninfo(self._server_dsn, dbname=name)

    def _execute(self, statement: str, database: str) -> None:
        with psycopg.connect(self._server_dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(database)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()
