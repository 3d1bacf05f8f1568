"""Faults of the server: its settings, rights, places and disk change under running stores.

Each function begins a fault and returns the function that ends it. A server that is just being
restarted is left alone: then nothing was begun.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import string
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.pgserver import TestServer

__all__ = [
    "SERVICE",
    "STRANGER",
    "SmallDisk",
    "can_mount",
    "fill_disk",
    "forge_notifications",
    "grant_rights",
    "install_clock",
    "refuse_writes",
    "revoke_rights",
    "set_clock_back",
    "set_for_sessions",
    "switch_durability_off",
    "take_connections",
]

Heal = Callable[[], None]

SERVICE = "service"
"""The role of the writers and the readers. It is no superuser, and owns nothing."""

STRANGER = "stranger"
"""A role that may connect and nothing else."""


def grant_rights(connection: psycopg.Connection, schema: str) -> None:
    """Create the roles, and grant to SERVICE what a store needs in *schema*."""
    connection.execute(f"CREATE ROLE {SERVICE} LOGIN; CREATE ROLE {STRANGER} LOGIN")
    # The torture itself goes on writing.
    connection.execute("ALTER ROLE postgres SET default_transaction_read_only = off")
    for right in (
        "USAGE ON SCHEMA {schema}",
        "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema}",
        "USAGE ON ALL SEQUENCES IN SCHEMA {schema}",
    ):
        _execute(connection, f"GRANT {right} TO {SERVICE}", schema)


def _execute(connection: psycopg.Connection, statement: str, schema: str) -> None:
    connection.execute(sql.SQL(statement).format(schema=sql.Identifier(schema)))


@contextlib.contextmanager
def _superuser(server: TestServer) -> Iterator[psycopg.Connection]:
    """Connect for the block; leave it in silence if the server is away."""
    with contextlib.suppress(psycopg.OperationalError), server.connect() as connection:
        yield connection


def _run(server: TestServer, *statements: str) -> None:
    with _superuser(server) as connection:
        for statement in statements:
            connection.execute(statement)


# ── settings ─────────────────────────────────────────────────────────────────────────────────────


def _system_setting(server: TestServer, name: str, value: str) -> Heal:
    _run(server, f"ALTER SYSTEM SET {name} = {value}", "SELECT pg_reload_conf()")
    reset = f"ALTER SYSTEM RESET {name}"
    return lambda: _run(server, reset, "SELECT pg_reload_conf()")


def switch_durability_off(server: TestServer) -> Heal:
    """Let commits return before they are on disk; at the end the server crashes."""
    reset = _system_setting(server, "synchronous_commit", "off")

    def crash() -> None:
        server.restart("immediate")
        reset()

    return crash


def refuse_writes(server: TestServer) -> Heal:
    """Make every transaction read only by default, also in sessions that are open."""
    return _system_setting(server, "default_transaction_read_only", "on")


def set_for_sessions(server: TestServer, pids: list[int], **settings: str) -> Heal:
    """Change defaults of the role, and make its sessions *pids* begin anew with them."""
    changes = [f"ALTER ROLE {SERVICE} SET {name} = '{value}'" for name, value in settings.items()]
    cut = (
        f"SELECT pg_terminate_backend(pid) FROM unnest('{{{','.join(map(str, pids))}}}'::int[]) pid"
    )
    _run(server, *changes, cut)
    resets = [f"ALTER ROLE {SERVICE} RESET {name}" for name in settings]
    return lambda: _run(server, *resets)


# ── rights and places ────────────────────────────────────────────────────────────────────────────


def revoke_rights(server: TestServer, schema: str) -> Heal:
    """Take the use of the schema from SERVICE."""
    with _superuser(server) as connection:
        _execute(connection, f"REVOKE USAGE ON SCHEMA {{schema}} FROM {SERVICE}", schema)

    def end() -> None:
        # Else nothing would ever work again.
        with server.connect() as connection:
            _execute(connection, f"GRANT USAGE ON SCHEMA {{schema}} TO {SERVICE}", schema)

    return end


def take_connections(server: TestServer) -> Heal:
    """Take every connection that is left for ordinary roles."""
    taken: list[psycopg.Connection] = []
    dsn = make_conninfo(server.dsn, user=STRANGER, application_name="crowd")
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            taken.append(psycopg.connect(dsn))

    def end() -> None:
        for connection in taken:
            connection.close()

    return end


# ── notifications ────────────────────────────────────────────────────────────────────────────────


def forge_notifications(server: TestServer, schema: str, seed: float) -> Heal:
    """Send random texts on the channel of *schema*, as a role without rights, until the end."""
    rng = random.Random(seed)
    ended = threading.Event()
    dsn = make_conninfo(server.dsn, user=STRANGER, application_name="forger")

    def forge() -> None:
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(dsn, autocommit=True) as connection,
        ):
            while not ended.wait(0.005):
                text = rng.choice(_FORGERIES)(rng)
                connection.execute("SELECT pg_notify(%s, %s)", [f"{schema}_events", text])

    thread = threading.Thread(target=forge, daemon=True)
    thread.start()

    def end() -> None:
        ended.set()
        thread.join()

    return end


_FORGERIES: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: str(rng.randrange(10**19)),
    lambda _: "²",
    lambda rng: f"s{rng.randrange(50)},{rng.randrange(10**18)}",
    lambda _: f"p{uuid4()}",
    lambda _: "e",
    lambda _: "",
    lambda rng: "".join(rng.choices(string.printable, k=rng.randrange(1, 200))),
    lambda rng: "x" * rng.randrange(7_000, 8_000),
)
"""Texts that look like ours, almost like ours, or like nothing."""


# ── clock ────────────────────────────────────────────────────────────────────────────────────────

_CLOCK = """
CREATE TABLE {clock}.set_back (seconds double precision);
INSERT INTO {clock}.set_back VALUES (0);
CREATE FUNCTION {clock}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
  SELECT pg_catalog.clock_timestamp() - make_interval(secs => seconds) FROM {clock}.set_back
$$;
GRANT USAGE ON SCHEMA {clock} TO PUBLIC;
GRANT SELECT ON {clock}.set_back TO PUBLIC;
"""


def install_clock(connection: psycopg.Connection, schema: str) -> None:
    """Let the functions that know leases read a clock that `set_clock_back` moves."""
    names = {"clock": sql.Identifier(f"{schema}_clock"), "schema": sql.Identifier(schema)}
    connection.execute(sql.SQL("CREATE SCHEMA {clock};" + _CLOCK).format(**names))
    functions = connection.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = %s::regnamespace"
        " AND proname IN ('claim_subscription', 'keep_subscriptions', 'look_at_subscriptions')",
        [schema],
    ).fetchall()
    for (signature,) in functions:
        path = sql.SQL("SET search_path = {clock}, pg_catalog, {schema}, pg_temp").format(**names)
        connection.execute(sql.SQL("ALTER FUNCTION {} {}").format(sql.SQL(signature), path))


def set_clock_back(server: TestServer, schema: str, seconds: float) -> None:
    """Set the clock of the leases back by *seconds*; it stays so."""
    clock = f"{schema}_clock"
    _run(server, f'UPDATE "{clock}".set_back SET seconds = seconds + {seconds}')


# ── disk ─────────────────────────────────────────────────────────────────────────────────────────


class SmallDisk:
    """A file system of its own for the table of events, which `fill_disk` fills up."""

    def __init__(self, server: TestServer, schema: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="torture-disk-"))
        subprocess.run(_mount(self.folder, "400m"), check=True)
        data = self.folder / "data"
        data.mkdir()
        owner = Path(f"/proc/{server.pid}").stat()
        os.chown(self.folder, owner.st_uid, owner.st_gid)
        os.chown(data, owner.st_uid, owner.st_gid)
        with server.connect() as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{data}'")
            _execute(connection, "ALTER TABLE {schema}.events SET TABLESPACE small", schema)

    def close(self) -> None:
        """Give it back, after the server has ended."""
        subprocess.run(["umount", "--lazy", self.folder], check=True)
        shutil.rmtree(self.folder)


@functools.cache
def can_mount() -> bool:
    """Return whether this user may mount a file system."""
    folder = tempfile.mkdtemp(prefix="torture-mount-")
    mounted = subprocess.run(_mount(Path(folder), "1m"), check=False, capture_output=True)
    if mounted.returncode == 0:
        subprocess.run(["umount", folder], check=True)
    Path(folder).rmdir()
    return mounted.returncode == 0


def _mount(folder: Path, size: str) -> list[str | Path]:
    return ["mount", "-t", "tmpfs", "-o", f"size={size}", "torture", folder]


def fill_disk(disk: SmallDisk) -> Heal:
    """Use up the space that the events are stored on."""
    ballast = disk.folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024 * 1024))
    return lambda: ballast.unlink(missing_ok=True)
