"""A schema is migrated beside code that runs: the old goes on, the new comes, nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
from psycopg import sql

from eventstore import EventStore
from tests.acceptance.guarantees.conftest import Settings, Start
from tests.acceptance.guarantees.test_durability import assert_stored, everything
from tests.support.cli import Shell
from tests.support.processes import Service
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.slow

PROGRAM = "tests.acceptance.guarantees.next_version"
ROOT = Path(__file__).parents[3]
LOCK_TIMEOUT = 1.0
BUSY = 0.7
"""Seconds by which a busy machine may let us see something late."""

HOLDS_UP_APPENDS = """
    SELECT FROM pg_locks
     WHERE relation = %s::regclass AND mode = 'AccessExclusiveLock' AND granted
"""


class Migrate(Protocol):
    """Begins a migration to the next version in a process of its own."""

    def __call__(self, migration: str, lock_timeout: float = PATIENCE) -> subprocess.Popen[str]: ...


@pytest.fixture
def migrate(settings: Settings) -> Migrate:
    """Begin a migration to the next version in a process of its own."""

    def begin(migration: str, lock_timeout: float = PATIENCE) -> subprocess.Popen[str]:
        more = {"migration": migration, "migration_lock_timeout": lock_timeout}
        return subprocess.Popen(
            [sys.executable, "-m", PROGRAM, json.dumps({**settings, **more}), "migrate"],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return how a migration ended, and what it complained of."""
    _, complaint = process.communicate(timeout=120)
    return process.returncode, complaint


def version(dsn: str, schema: str) -> int:
    with psycopg.connect(dsn) as connection:
        table = sql.Identifier(schema, "schema_version")
        row = connection.execute(sql.SQL("SELECT max(version) FROM {}").format(table)).fetchone()
    assert row is not None
    return int(row[0])


def longest(writer: Service) -> float:
    return max(float(report["seconds"]) for report in writer.reports("appended"))


def more(writer: Service, count: int) -> None:
    """Wait until it stored *count* appends more."""
    writer.wait("appended", count=len(writer.reports("appended")) + count)


def test_old_code_goes_on_during_and_after_a_migration_and_new_code_beside_it(
    dsn: str, schema: str, settings: Settings, start: Start, migrate: Migrate, observer: EventStore
) -> None:
    """G33, G13, G14, G16: old owners, old writers, old connects; the new one takes over at last."""
    old, writer = start(2)
    old.do("subscribe", name="sub", max_batch_size=10)
    writer.do("write", streams=["a", "b"], seed=33, most_streams=2)
    more(writer, 20)
    assert ended(migrate("additive")) == (0, "")
    assert version(dsn, schema) == 2
    more(writer, 20)
    old.wait_delivered("sub", len(old.delivered("sub")) + 20)

    new = Service({**settings, "migration": "additive"}, program=PROGRAM)
    try:
        new.ready().do("subscribe", name="sub")
        assert new.wait("connected")["state"] == "waiting"
        new.do("write", streams=["a", "c"], seed=34, appends=20)
        (late,) = start()
        late.do("write", streams=["b", "c"], seed=35, appends=20)
        writer.do("stop")
        for service in (new, late, writer):
            service.wait("written")
            assert not service.reports("failed")
        assert old.end() == 0
        new.do("write", streams=["a"], seed=36, appends=5)
        new.wait("written", count=2)

        stored = everything(observer)
        for service in (new, late, writer):
            assert_stored(service.reports("appended"), stored)
        new.until(lambda: len(stored) in new.positions("sub"))
        delivered = old.positions("sub") + new.positions("sub")
        assert sorted(set(delivered)) == list(range(1, len(stored) + 1))
        assert old.positions("sub") == list(range(1, len(old.positions("sub")) + 1))
    finally:
        new.kill9()
    assert "no problem" in Shell(dsn, schema).run("verify")


def test_a_migration_that_cannot_have_its_locks_gives_up_and_holds_up_no_append_longer(
    dsn: str, schema: str, start: Start, migrate: Migrate
) -> None:
    """G33: it has locked the events already when it has to wait for somebody who reads."""
    (writer,) = start(runtime="caller")
    writer.do("write", streams=["a"], seed=33)
    more(writer, 20)
    with psycopg.connect(dsn) as reader, psycopg.connect(dsn, autocommit=True) as watching:

        def held_up() -> bool:
            return watching.execute(HOLDS_UP_APPENDS, [f"{schema}.events"]).rowcount > 0

        table = sql.Identifier(schema, "subscriptions")
        reader.execute(sql.SQL("SELECT count(*) FROM {}").format(table))
        migrating = migrate("greedy", LOCK_TIMEOUT)
        wait_until(held_up)
        began = time.monotonic()
        wait_until(lambda: not held_up())
        assert time.monotonic() - began < LOCK_TIMEOUT + PATIENCE
        code, complaint = ended(migrating)
        assert code == 1
        assert complaint.startswith("StorageUnavailableError")
        more(writer, 20)
        assert longest(writer) > LOCK_TIMEOUT - BUSY, "it was held up"
    assert version(dsn, schema) == 1
    assert ended(migrate("greedy")) == (0, "")
    more(writer, 20)
    writer.do("stop").wait("written")
    assert not writer.reports("failed")


def test_code_that_does_not_fit_the_schema_is_refused_and_told_what_to_do(
    dsn: str, schema: str, settings: Settings, migrate: Migrate
) -> None:
    """G33: the new before the migration, the old behind one that it cannot live with."""
    early = subprocess.run(
        [
            sys.executable,
            "-m",
            PROGRAM,
            json.dumps({**settings, "migration": "additive"}),
            "caller",
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert early.returncode == 1
    assert "SchemaVersionError" in early.stderr
    assert "run: eventstore migrate" in early.stderr
    shell = Shell(dsn, schema)
    assert shell.run("streams") == ""
    assert ended(migrate("incompatible")) == (0, "")
    complaint = shell.refused("streams", code=4)
    assert "has version 2 and needs code of 2 or newer" in complaint
