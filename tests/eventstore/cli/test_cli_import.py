from __future__ import annotations

import contextlib
import gzip
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventstore import CallerRuntime, Config, EventStore
from tests.support.cli import Shell
from tests.support.forked import run_forked
from tests.support.memory import MIB
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def shell(dsn: str, schema: str) -> Shell:
    shell = Shell(dsn, schema)
    shell.run("init")
    return shell


def events(count: int, streams: int = 7) -> list[bytes]:
    """Return lines without ids, some of them equal, in an order that no grouping would keep."""
    return [
        json.dumps(
            {
                "stream_id": f"plane-{number * number % streams}",
                "event_type": "Flown",
                "data": {"flight": number // 3},
            }
        ).encode()
        + b"\n"
        for number in range(count)
    ]


def content(shell: Shell) -> list[tuple[str, Any]]:
    return [(event["stream_id"], event["data"]) for event in shell.json("read", "$all")]


def expected(lines: list[bytes]) -> list[tuple[str, Any]]:
    return [(item["stream_id"], item["data"]) for item in map(json.loads, lines)]


def test_a_file_is_stored_in_its_order_and_once(shell: Shell, tmp_path: Path) -> None:
    lines = events(2_500)
    file = tmp_path / "flights.jsonl"
    file.write_bytes(b"".join(lines))
    assert shell.json("import", str(file)) == [
        {"lines": 2_500, "stored": 2_500, "already_stored": 0}
    ]
    assert content(shell) == expected(lines)
    assert shell.run("import", str(file)) == "0 events stored, 2,500 were stored already\n"
    assert content(shell) == expected(lines)


def test_gzip_and_the_standard_input_are_taken(shell: Shell, tmp_path: Path) -> None:
    lines = events(50)
    file = tmp_path / "flights.jsonl.gz"
    file.write_bytes(gzip.compress(b"".join(lines)))
    shell.run("import", str(file))
    assert shell.json("import", "-", stdin=b"".join(lines))[0]["already_stored"] == 50
    assert shell.json("import", "-", stdin=file.read_bytes())[0]["already_stored"] == 50
    assert content(shell) == expected(lines)


def test_what_read_prints_is_imported_unchanged(shell: Shell, dsn: str, other_schema: str) -> None:
    """G10, with every order and every time."""
    shell.run("append", "s", "T", '{"text": "字 \\n \\ud83d\\ude00", "big": 1e300}')
    shell.run("import", "-", stdin=b"".join(events(300)))
    shell.run("append", "s", "T", "null", "--metadata", '{"by": ["me"]}')
    printed = shell.run("read", "$all", "--json")
    other = Shell(dsn, other_schema)
    other.run("init")
    other.run("import", "-", stdin=printed)
    assert other.run("read", "$all", "--json") == printed


@pytest.fixture
def other_schema(dsn: str, schema: str) -> Any:
    yield f"{schema}_2"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{schema}_2" CASCADE'.encode())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_import_that_was_interrupted_is_simply_run_again(
    shell: Shell, dsn: str, schema: str, number: signal.Signals
) -> None:
    """G5, G6: nothing twice, nothing lost, whatever was in flight."""
    lines = events(6_000)
    with shell.start("import", "-", stdin=subprocess.PIPE) as interrupted:
        assert interrupted.stdin is not None
        interrupted.stdin.write(b"".join(lines[:4_000]))
        interrupted.stdin.flush()
        wait_until(lambda: head(dsn, schema) > 500)
        interrupted.send_signal(number)
        interrupted.wait(timeout=PATIENCE)
        assert interrupted.stderr is not None
        assert interrupted.stderr.read() == b""
    assert interrupted.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[number]
    assert 500 < head(dsn, schema) < 6_000
    shell.run("import", "-", stdin=b"".join(lines))
    assert content(shell) == expected(lines)


def head(dsn: str, schema: str) -> int:
    with EventStore.connect(Config(dsn, schema=schema), runtime=CallerRuntime) as store:
        return store.stream_info("$all").stream_version


def test_two_imports_of_the_same_file_at_the_same_time_store_it_once(
    shell: Shell, tmp_path: Path
) -> None:
    lines = events(3_000)
    file = tmp_path / "flights.jsonl"
    file.write_bytes(b"".join(lines))
    with shell.start("import", str(file)) as one, shell.start("import", str(file)) as two:
        assert [process.wait(timeout=120) for process in (one, two)] == [0, 0]
    assert content(shell) == expected(lines)


def test_a_bad_line_is_named_and_a_repaired_file_goes_on(shell: Shell) -> None:
    """What was imported before stays, and is cut into other commits the second time."""
    lines = events(1_500, streams=1)
    broken = [*lines[:700], b'{"stream_id": "s", "event_type": "T"}\n', *lines[700:]]
    complaint = shell.refused("import", "-", stdin=b"".join(broken), code=1)
    assert complaint == "line 701: field 'data' is missing"
    assert content(shell) == expected(lines[:700])
    repaired = shell.json("import", "-", stdin=b"".join(lines))
    assert repaired == [{"lines": 1_500, "stored": 800, "already_stored": 700}]
    assert content(shell) == expected(lines)


@pytest.mark.parametrize("data", ['"\\u0000"', '{"a\\u0000": 1}'])
def test_a_line_that_the_store_refuses_is_named(shell: Shell, data: str) -> None:
    """G7: and those before it in the same commit are stored."""
    bad = f'{{"stream_id": "plane-0", "event_type": "T", "data": {data}}}\n'.encode()
    lines = events(20)
    complaint = shell.refused("import", "-", stdin=b"".join([*lines[:13], bad, *lines]), code=1)
    assert complaint.startswith("line 14: ")
    assert "NUL" in complaint
    assert content(shell) == expected(lines[:13])


def test_an_event_id_that_is_used_elsewhere_is_named_by_its_line(shell: Shell) -> None:
    used = str(uuid4())
    shell.run("append", "s", "T", "1", "--event-id", used)
    lines = events(5)
    bad = json.dumps({"stream_id": "r", "event_type": "T", "data": 1, "event_id": used}).encode()
    complaint = shell.refused("import", "-", stdin=b"".join([*lines, bad]), code=1)
    assert complaint == f"line 6: event id {used} is already used by another append"
    assert len(content(shell)) == 6


def test_the_same_id_twice_in_a_file_is_the_same_event(shell: Shell) -> None:
    line = json.dumps(
        {"stream_id": "s", "event_type": "T", "data": 1, "event_id": str(uuid4())}
    ).encode()
    [summary] = shell.json("import", "-", stdin=b"\n".join([line, line]))
    assert summary == {"lines": 2, "stored": 1, "already_stored": 1}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
)
def test_a_file_that_cannot_be_opened_is_wrong_usage(
    shell: Shell, tmp_path: Path, made: Callable[[Path], None], said: str
) -> None:
    file = tmp_path / "flights.jsonl"
    made(file)
    assert said in shell.refused("import", str(file), code=2)


def test_a_truncated_gzip_stores_what_it_holds_and_says_so(shell: Shell, tmp_path: Path) -> None:
    lines = events(5_000)
    file = tmp_path / "flights.gz"
    compressed = gzip.compress(b"".join(lines))
    file.write_bytes(compressed[: len(compressed) // 2])
    assert "to its end" in shell.refused("import", str(file), code=1)
    stored = content(shell)
    assert 0 < len(stored) < 5_000
    assert stored == expected(lines[: len(stored)])
    file.write_bytes(compressed)
    shell.run("import", str(file))
    assert content(shell) == expected(lines)


def test_an_empty_file_is_done(shell: Shell) -> None:
    assert shell.run("import", "-") == "0 events stored\n"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("with_end", [False, True])
def test_a_line_that_no_event_can_have_is_refused_before_it_is_read(
    shell: Shell, tmp_path: Path, *, compressed: bool, with_end: bool
) -> None:
    """F48, G28: of a sparse file of 3 GiB at most the size of an event is in memory."""
    file = tmp_path / "large"
    line = events(1)[0]
    if compressed:
        with gzip.open(file, "wb", compresslevel=1) as packed:
            packed.write(line)
            for _ in range(200):
                packed.write(b"x" * MIB)
            packed.write(b"\n" if with_end else b"")
    else:
        with file.open("wb") as sparse:
            sparse.write(line)
            sparse.seek(3_000 * MIB)
            sparse.write(b"\n" if with_end else b"\0")
    done = run_forked(
        "tests.support.measured_cli",
        ["import", str(file)],
        environment=shell.environment,
        stdin=b"",
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"eventstore: line 2: longer than 67,174,400 bytes")
    stored, peak = done.stdout.splitlines()
    assert stored.startswith(b"1 events stored")
    assert int(peak) < 500 * MIB
    assert content(shell) == expected([line])


def test_lines_without_end_are_refused_before_they_fill_the_memory(shell: Shell) -> None:
    """F48: all lines of an append are in memory together."""
    with shell.start("append", "s", "T", "-", stdin=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stderr is not None
        with contextlib.suppress(BrokenPipeError):
            chunk = b'"%b"\n' % (b"x" * MIB)
            for _ in range(400):
                running.stdin.write(chunk)
        with contextlib.suppress(BrokenPipeError):
            running.stdin.close()
        err = running.stderr.read()
    assert running.returncode == 1
    assert err.startswith(b"eventstore: standard input, line 2")
    assert b"too much for one append; 'eventstore import'" in err


def test_an_event_with_another_content_than_the_stored_one_is_named_by_its_line(
    shell: Shell,
) -> None:
    """F29, G6."""
    lines = events(5)
    known = str(uuid4())
    line = {"stream_id": "s", "event_type": "T", "data": 1, "event_id": known, "metadata": 1}
    shell.run("import", "-", stdin=json.dumps(line))
    retry = json.dumps({**line, "metadata": 2}).encode()
    other = json.dumps({**line, "data": 2}).encode()
    complaint = shell.refused("import", "-", stdin=b"\n".join([retry, *lines, other]), code=1)
    assert complaint.startswith("line 12: ")
    assert f"{known} is already stored with another type or other data" in complaint
    assert len(content(shell)) == 6
