"""A FastAPI service over `AsyncEventStore`: many requests at once, and a SIGTERM in the middle."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from eventstore import CallerRuntime, Config, EventStore
from tests.coroutines import shop
from tests.coroutines.loop_times import REPORT
from tests.support.waiting import PATIENCE, wait_until

REQUESTS = 200
"""At once."""

LONGEST = 0.005
"""Seconds of processor time that a callback of ours may take."""


@pytest.fixture
def config(dsn: str, schema: str) -> Config:
    config = Config(dsn, schema=schema)
    EventStore.connect(config, init=True, runtime=CallerRuntime).close()
    return config


@pytest.fixture
def environment(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSTORE_DSN", config.dsn)
    monkeypatch.setenv("EVENTSTORE_SCHEMA", config.schema)


def stored(config: Config) -> set[str]:
    with EventStore.connect(config, runtime=CallerRuntime) as store:
        return {event.stream_id for event in store.stream_all_forward()}


@pytest.mark.usefixtures("environment")
def test_many_requests_at_once_are_answered(config: Config) -> None:
    """G42, G3: by its own test client; one of two with the same name wins."""
    with TestClient(shop.app) as client, ThreadPoolExecutor(50) as threads:

        def place(number: int) -> int:
            return client.post(f"/orders/{number // 2}", json={"sku": "A-1"}).status_code

        answers = list(threads.map(place, range(REQUESTS)))
        assert client.get("/health").json() == {"ok": True}
        assert client.get("/orders/0").json() == [{"sku": "A-1"}]
        assert client.get("/orders/none").status_code == 404
    assert (answers.count(201), answers.count(409)) == (REQUESTS // 2, REQUESTS // 2)
    assert stored(config) == {f"order-{number}" for number in range(REQUESTS // 2)}


@contextmanager
def served(socket: Path, service: str = "app") -> Iterator[subprocess.Popen[str]]:
    """Serve the shop over a socket."""
    command = [sys.executable, "-W", "error", "-m", "uvicorn", f"tests.coroutines.shop:{service}"]
    with subprocess.Popen(
        [*command, "--uds", str(socket), "--log-level", "warning"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: process.poll() is not None or socket.exists())
            yield process
        finally:
            process.kill()


@pytest.mark.usefixtures("environment")
def test_what_was_acknowledged_before_a_sigterm_is_stored(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G42, G5, G26: under uvicorn, with a clean end, and the loop was never held up by us."""
    socket, times = tmp_path / "shop", tmp_path / "times"
    monkeypatch.setenv(REPORT, str(times))
    with served(socket) as process:
        acknowledged, refused = asyncio.run(_requests(socket, process))
        _output, complaints = process.communicate(timeout=PATIENCE)
    assert complaints == ""
    # uvicorn ends by the signal that it was told to end by.
    assert process.returncode in {0, -signal.SIGTERM}
    assert len(acknowledged) >= REQUESTS
    assert refused <= {200, 201, 503}
    assert {f"order-{number}" for number in acknowledged} <= stored(config)
    ours = json.loads(times.read_text())["ours"]
    assert len(ours) > 100
    # Processor time, which other work on the machine does not change.
    assert max(ours) <= LONGEST


async def _requests(socket: Path, process: subprocess.Popen[str]) -> tuple[set[str], set[int]]:
    """Place orders in many tasks until the service is gone; return those acknowledged."""
    acknowledged: set[str] = set()
    answers: set[int] = set()
    transport = httpx.AsyncHTTPTransport(uds=str(socket), retries=3)
    limits = {"timeout": PATIENCE, "transport": transport, "base_url": "http://shop"}

    async def place(task: int) -> None:
        for number in range(1_000):
            name = f"{task}-{number}"
            try:
                answer = await client.post(f"/orders/{name}", json={"sku": "A-1"})
            except httpx.TransportError:
                return  # it ended, whatever became of this one
            answers.add(answer.status_code)
            if answer.status_code == 201:
                acknowledged.add(name)
            if len(acknowledged) == 2 * REQUESTS:
                process.send_signal(signal.SIGTERM)

    async with httpx.AsyncClient(**limits) as client:  # type: ignore[arg-type]
        await asyncio.gather(*[place(task) for task in range(REQUESTS)])
    return acknowledged, answers
