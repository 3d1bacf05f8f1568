"""PgBouncer, by default in transaction mode: each transaction may run in another session."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.programs import identity
from tests.support.waiting import wait_until

__all__ = ["PROGRAM", "Pooler"]

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

_SETTINGS = """
[databases]
{dbname} = host={host} port={port} user={user}

[pgbouncer]
pool_mode = {mode}
default_pool_size = {sessions}
auth_type = any
listen_port = 6432
unix_socket_dir = {folder}
"""


class Pooler:
    """A pooler in front of a server, with fewer sessions than there are clients."""

    def __init__(self, dsn: str, sessions: int = 2, mode: str = "transaction") -> None:
        assert PROGRAM is not None
        self._folder = Path(tempfile.mkdtemp(prefix="eventstore-pooler-"))
        identity().own(self._folder)
        settings = self._folder / "pgbouncer.ini"
        names = conninfo_to_dict(dsn)
        settings.write_text(
            _SETTINGS.format(**names, sessions=sessions, mode=mode, folder=self._folder)
        )
        self.dsn = make_conninfo(dsn, host=str(self._folder), port=6432)
        self._log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(
            [*identity().prefix, PROGRAM, str(settings)],
            user=identity().user,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        wait_until(self._answers)

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()
        shutil.rmtree(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
