"""Hand 100 subscriptions over from one process to two others, and count what that takes.

``python -m tests.acceptance.guarantees.handing_over`` shows the median of five.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import uuid4

from psycopg import sql

from tests.acceptance.guarantees.conftest import installed
from tests.support.processes import Service
from tests.support.statement_log import StatementLog, logging_server
from tests.support.waiting import wait_until

__all__ = ["HandOver", "hand_over"]

COUNT = 100
PREFIX = "many"


@dataclass(frozen=True)
class HandOver:
    """What a hand-over took."""

    seconds: float
    """From the owner's close until the last one is owned again."""
    statements: int
    """Of all three processes, from the close of the owner on. A transaction has one or more."""
    owners: dict[str, int]
    """How many subscriptions each process id owned afterwards."""
    standbys: list[str]
    """The process ids of the standbys."""


def hand_over(log: StatementLog, schema: str) -> HandOver:
    """Close the owner of `COUNT` subscriptions beside two standbys in processes of their own."""
    settings = {**installed(log.server.dsn, schema), "poll_interval": 1.0, "lease": 60.0}
    with ExitStack() as stack:
        services = []
        for number in range(3):
            service = Service({**settings, "dsn": log.dsn(f"service-{number}")})
            stack.callback(service.kill9)
            services.append(service)
        owner, *standbys = [service.ready() for service in services]
        owner.do("subscribe_many", prefix=PREFIX, count=COUNT).wait("subscribed", count=COUNT)
        for standby in standbys:
            standby.do("subscribe_many", prefix=PREFIX, count=COUNT)
        for standby in standbys:
            standby.wait("connected", name=PREFIX)
        log.forget()
        closing = owner.do("close")
        wait_until(lambda: sum(len(each.reports("subscribed")) for each in standbys) >= COUNT)
        taken = max(report["at"] for each in standbys for report in each.reports("subscribed"))
        closed = closing.wait("closed")
        statements = sum(log.counts().values())
        return HandOver(
            seconds=taken - (closed["at"] - closed["seconds"]),
            statements=statements,
            owners=_owners(log, schema),
            standbys=[str(each.wait("ready")["pid"]) for each in standbys],
        )


def _owners(log: StatementLog, schema: str) -> dict[str, int]:
    counted = sql.SQL("SELECT split_part(owner_name, ':', 2), count(*) FROM {} GROUP BY 1")
    with log.server.connect() as connection:
        rows = connection.execute(counted.format(sql.Identifier(schema, "positions")))
        return dict(rows.fetchall())


def main() -> None:
    with logging_server() as log:
        taken = [hand_over(log, f"t_{uuid4().hex[:12]}") for _ in range(5)]
    for each in taken:
        print(f"{each.seconds:.3f} s, {each.statements} statements")  # noqa: T201 -- for information
    print(f"median {statistics.median(each.seconds for each in taken):.3f} s")  # noqa: T201 -- for information


if __name__ == "__main__":
    main()
