"""A server that logs every statement, to count what runtimes ask of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.conninfo import make_conninfo

from tests.support.pgserver import TestServer

__all__ = ["StatementLog", "logging_server"]

_SETTINGS = {
    "log_statement": "all",
    "log_line_prefix": "%a|",
    "log_parameter_max_length": "0",
    "autovacuum": "off",
    "max_connections": "400",
}
_LINE = re.compile(r"^(?P<name>[^|\s]+)[^|]*\|LOG:  (?:statement|execute [^:]*): (?P<sql>.*)")


class StatementLog:
    """The statements of a server so far, by the first word of the application's name."""

    def __init__(self, server: TestServer) -> None:
        self.server = server
        self._path = server.path / "server.log"
        self._from = 0

    def dsn(self, name: str) -> str:
        """Return the connection string for somebody whose statements are counted as *name*'s."""
        return make_conninfo(self.server.dsn, application_name=name)

    def forget(self) -> None:
        """Count from here on."""
        self._from = self._path.stat().st_size

    def counts(self, containing: str = "") -> Counter[str]:
        """Return how many statements each sent; only those with *containing*."""
        return Counter(name for name, sql in self.statements() if containing in sql)

    def statements(self) -> list[tuple[str, str]]:
        """Return who sent a statement, and the statement."""
        with self._path.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._from)
            text = log.read()
        entries = re.split(r"\n(?!\t)", text)
        found = (_LINE.match(" ".join(entry.split("\n\t"))) for entry in entries)
        return [(match["name"], " ".join(match["sql"].split())) for match in found if match]


@contextmanager
def logging_server() -> Iterator[StatementLog]:
    """Run a server of its own that logs every statement."""
    with TestServer(_SETTINGS) as server:
        yield StatementLog(server)
