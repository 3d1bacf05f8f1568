"""A primary and two streaming standbys; one of them must confirm each commit."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from eventstore.embedded import EmbeddedServer
from tests.support.pgserver import prepare
from tests.support.programs import identity, programs
from tests.support.standbys import require_standbys
from tests.support.waiting import wait_until

__all__ = ["Cluster", "Node"]

_NAMES = ("ann", "bob", "cat")
_QUORUM = f"ANY 1 ({', '.join(_NAMES)})"
_SETTINGS = {
    "wal_keep_size": "256MB",
    "wal_retrieve_retry_interval": "200ms",
}


class Node:
    """One server of the cluster."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        # The cluster name is the name under which a standby connects to its primary.
        self._server = EmbeddedServer.start(path, settings={**_SETTINGS, "cluster_name": name})
        self.dsn = self._server.dsn

    @property
    def socket(self) -> str:
        return str(conninfo_to_dict(self.dsn)["host"])

    def query(self, statement: str) -> Any:
        """Return the first column of the first row; None if there is none."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def copy_to(self, path: Path) -> None:
        """Make *path* the folder of a standby of this server."""
        data = path / "pgdata"
        data.mkdir()
        identity().own(data)
        if identity().user is not None:
            path.chmod(0o711)
        command = ("-D", data, "-d", self.dsn, "--write-recovery-conf", "--checkpoint=fast")
        with tempfile.TemporaryFile() as output:
            code = identity().run([programs() / "pg_basebackup", *map(str, command)], output=output)
            output.seek(0)
            assert code == 0, output.read().decode()
        data.chmod(0o700)

    def follow(self, primary: Node | None) -> None:
        """Follow *primary* from now on, or no server."""
        self._set("primary_conninfo", "" if primary is None else primary.dsn)
        if primary is None:
            wait_until(lambda: self.query("SELECT pid FROM pg_stat_wal_receiver") is None)

    def wait_for(self, standby_names: str) -> None:
        """Require these standbys to confirm each commit; empty: none."""
        require_standbys(self.dsn, standby_names)

    def _set(self, name: str, value: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            setting = sql.SQL("ALTER SYSTEM SET {} = {}")
            connection.execute(setting.format(sql.Identifier(name), value))
            connection.execute("SELECT pg_reload_conf()")

    def received(self) -> int:
        """Return the number of bytes of write-ahead log that it has received."""
        return int(self.query("SELECT pg_last_wal_receive_lsn() - '0/0'"))

    def promote(self) -> None:
        assert self.query("SELECT pg_promote(true, 30)")

    def standbys(self) -> int:
        """Return the number of standbys that stream from it now."""
        return int(self.query("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"))

    def kill9(self) -> None:
        """Kill all its processes at once, as a power cut does."""
        postmaster = psutil.Process(self._server.pid)
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)

    def close(self) -> None:
        self._server.close()
        shutil.rmtree(self._path)


class Cluster:
    """Three nodes; *dsn* leads to the one that accepts writes."""

    def __init__(self) -> None:
        self.primary = Node(_NAMES[0], prepare(_folder()))
        self.primary.wait_for(_QUORUM)  # the standbys get the setting with the copy
        self.standbys = [self._standby(name) for name in _NAMES[1:]]
        self._nodes = [self.primary, *self.standbys]
        sockets = ",".join(node.socket for node in self._nodes)
        self.dsn = make_conninfo(self.primary.dsn, host=sockets, target_session_attrs="read-write")
        self.wait_for_standbys(2)

    def _standby(self, name: str) -> Node:
        path = _folder()
        self.primary.copy_to(path)
        return Node(name, path)

    def wait_for_standbys(self, count: int) -> None:
        wait_until(lambda: self.primary.standbys() == count)

    def newest_standby(self) -> Node:
        """Return the standby that has every confirmed commit; the primary must be dead."""
        return max(self.standbys, key=Node.received)

    def fail_over_to(self, chosen: Node) -> None:
        """Promote *chosen*, and let the other standby follow it."""
        chosen.promote()
        self.standbys = [node for node in self.standbys if node is not chosen]
        for node in self.standbys:
            node.follow(chosen)
        self.primary = chosen

    def close(self) -> None:
        for node in reversed(self._nodes):
            node.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="eventstore-node-"))
