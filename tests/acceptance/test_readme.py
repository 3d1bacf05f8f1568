"""The README's examples run, and print what it says they print."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from eventstore import Config, EventData, EventStore, ExpectedVersion
from tests.support.readme import BLOCKS, blocks
from tests.support.waiting import wait_until

REQUESTS = """
import threading
from fastapi.testclient import TestClient

with TestClient(app) as client:
    print(client.post("/orders/7", json={"sku": "A-1"}).json())
    print(client.post("/orders/7", json={"sku": "A-1"}).json())
    print(client.get("/health").json())
    store = app.state.store
    [newest] = client.portal.call(store.read_all_streams_forward)
    client.portal.call(store.wait_for, "$all", "confirmations", newest, 60)
for thread in threading.enumerate()[1:]:  # the last may end a little later
    thread.join(60)
print([thread.name for thread in threading.enumerate()])
"""

APPEND = """
from eventstore import CallerRuntime, Config, EventData, EventStore, ExpectedVersion

with EventStore.connect(Config.from_env(), runtime=CallerRuntime) as store:
    store.append_to_stream("order-1", ExpectedVersion.ANY, [EventData("OrderPlaced", {})])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader types it all, one example after the other."""
    folder = tmp_path_factory.mktemp("reader") / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """An empty folder of a reader who starts anew."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def environment(**more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **more}


def run(folder: Path, *command: str, **more: str) -> str:
    """Return what *command* prints; it must succeed and complain about nothing."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def python(folder: Path, code: str, **more: str) -> str:
    return run(folder, sys.executable, "-W", "error", "-c", code, **more)


def test_every_block_is_of_a_known_kind() -> None:
    assert {(block.language, block.mode) for block in BLOCKS} == {
        ("bash", ""),
        ("bash", "run"),
        ("mermaid", ""),
        ("python", ""),
        ("python", "fastapi"),
        ("python", "no-run"),
        ("python", "until-sigterm"),
        ("sql", ""),
    }
    assert len(blocks("python")) == 15
    assert len(blocks("python", "no-run")) == 1


@pytest.mark.parametrize("number", range(13))
def test_a_python_example_runs_and_prints_what_the_readme_says(folder: Path, number: int) -> None:
    block = blocks("python")[number]
    output = python(folder, block.code)
    assert not block.output or output == block.output


def test_the_quick_start_goes_on_when_it_is_run_again(fresh: Path) -> None:
    """G13: what was acknowledged is not delivered to the next run."""
    quick_start = blocks("python")[0].code
    assert python(fresh, quick_start) == "#1 order-1: ship A-1\n"
    assert python(fresh, quick_start) == "#2 order-1: ship A-1\n"


def test_the_commands_run(folder: Path) -> None:
    [commands] = blocks("bash", "run")
    output = run(folder, "bash", "-euo", "pipefail", "-c", commands.code)
    assert "BoxPacked" in output


def test_the_queries_show_the_newest_events_and_every_subscription(dsn: str, schema: str) -> None:
    """G32: a subscription without progress can be seen with SQL."""
    _grants, queries = blocks("sql")
    newest, status = queries.code.replace("eventstore.", f'"{schema}".').split(";")[:2]
    placed = EventData("OrderPlaced", {"sku": "A-1"})
    with (
        EventStore.connect(Config(dsn, schema=schema), init=True) as store,
        psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection,
    ):
        store.subscribe_to_all_streams("shipping", lambda _: None).pause()
        store.append_to_stream("order-1", ExpectedVersion.ANY, [placed])
        [event] = connection.execute(newest.encode()).fetchall()
        [subscription] = connection.execute(status.encode()).fetchall()
    assert (event["event_type"], event["data"]) == ("OrderPlaced", {"sku": "A-1"})
    assert (subscription["subscription_name"], subscription["lag_events"]) == ("shipping", 1)
    assert subscription["lag_seconds"] > 0


def test_the_fastapi_service_places_orders_and_leaves_no_thread(fresh: Path) -> None:
    """G26, for a service that is embedded in an event loop."""
    [service] = blocks("python", "fastapi")
    output = python(
        fresh, f"{service.code}\n{REQUESTS}", EVENTSTORE_DSN=f"embedded:{fresh / 'shop'}"
    )
    lines = [
        "{'position': 1}",
        "{'detail': \"stream 'order-7' is at version 1, expected NO_STREAM\"}",
        "{'ok': True}",
        "confirm order-7",
        "['MainThread']",
    ]
    # The handler prints in the loop's thread: what it prints may stand in the middle of a line.
    assert [output.count(line) for line in lines] == [1] * len(lines)
    assert len(output) == sum(len(line) + 1 for line in lines)


def test_the_worker_bills_and_ends_on_sigterm(fresh: Path) -> None:
    """G26: a service ends orderly when it is told to by its signal."""
    [worker] = blocks("python", "until-sigterm")
    dsn = f"embedded:{fresh / 'shop'}"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", worker.code],
        env=environment(EVENTSTORE_DSN=dsn),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: process.poll() is not None or handles_sigterm(process.pid), 30)
            python(fresh, APPEND, EVENTSTORE_DSN=dsn)
            assert process.stdout is not None
            assert process.stdout.readline() == "bill for order-1\n"
            process.terminate()
            output, complaints = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, output, complaints) == (0, "", "")


def handles_sigterm(pid: int) -> bool:
    """Tell whether the process has come to where SIGTERM ends it orderly."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught, 16) & 1 << signal.SIGTERM - 1)
