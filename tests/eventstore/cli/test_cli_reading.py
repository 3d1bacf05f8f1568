from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from errno import ENOSPC
from typing import Any
from uuid import uuid4

import pytest

from eventstore import CallerRuntime, Config, EventData, EventStore, JsonSerializer
from tests.support.cli import SCRIPT, Shell
from tests.support.waiting import PATIENCE


@pytest.fixture
def shell(dsn: str, schema: str) -> Shell:
    shell = Shell(dsn, schema)
    shell.run("init")
    return shell


def test_what_was_appended_is_read_as_text(shell: Shell) -> None:
    shell.run("append", "order-1", "OrderPlaced", '{"sku": "A-1"}', "--metadata", '{"by": "me"}')
    shell.run("append", "order-2", "OrderPlaced", '"ü\\u001b[31m"')
    [line] = shell.run("read", "order-1").splitlines()
    assert line.split()[0] == "1"
    assert line.endswith('OrderPlaced  {"sku":"A-1"}  {"by":"me"}')
    first, second = shell.run("read", "$all").splitlines()
    assert "order-1@1  OrderPlaced" in first
    assert second.endswith('order-2@1  OrderPlaced  "ü\\u001b[31m"')


def test_a_linked_event_is_shown_with_its_stream(dsn: str, schema: str, shell: Shell) -> None:
    """G35."""
    shell.run("append", "order-1", "OrderPlaced", "1")
    shell.run("append", "ada", "Registered", "2")
    with EventStore.connect(Config(dsn, schema=schema), runtime=CallerRuntime) as store:
        store.link_to_stream("ada", 1, store.read_stream_forward("order-1"))
    own, linked = shell.run("read", "ada").splitlines()
    assert own.endswith("Z  Registered  2")
    assert linked.split()[0] == "2"
    assert linked.endswith("Z  order-1@1  OrderPlaced  1")


def test_it_prints_only_the_types_and_streams_that_are_named(shell: Shell) -> None:
    for stream_id, kind in (("order-1", "Placed"), ("order-1", "Paid"), ("invoice-1", "Placed")):
        shell.run("append", stream_id, kind, "1")

    def printed(*options: str) -> list[str]:
        return [line.split()[-2] for line in shell.run("read", *options).splitlines()]

    assert printed("$all", "--type", "Placed") == ["Placed", "Placed"]
    assert printed("$all", "--type", "Placed", "--prefix", "order-") == ["Placed"]
    assert printed("$all", "--type", "Placed", "--type", "Paid", "--count", "2", "--backward") == [
        "Placed",
        "Paid",
    ]
    assert printed("order-1", "--type", "Paid") == ["Paid"]


def test_json_holds_every_field_of_an_event(shell: Shell) -> None:
    shell.run("append", "s", "T", '{"a": [1, null, "字"]}', "--metadata", "{}")
    [event] = shell.json("read", "s")
    assert event.keys() == {
        "event_id",
        "event_type",
        "stream_id",
        "stream_version",
        "global_position",
        "position",
        "data",
        "metadata",
        "causation_id",
        "correlation_id",
        "created_at",
    }
    assert event["data"] == {"a": [1, None, "字"]}


def test_from_count_and_backward_choose_the_events(shell: Shell) -> None:
    shell.run("append", "s", "T", stdin="\n".join(map(str, range(1, 11))))

    def read(*options: str) -> list[int]:
        return [event["data"] for event in shell.json("read", *options)]

    assert read("s") == list(range(1, 11))
    assert read("s", "--from", "9") == [9, 10]
    assert read("s", "--from", "3", "--count", "2") == [3, 4]
    assert read("s", "--backward", "--count", "3") == [10, 9, 8]
    assert read("s", "--backward", "--from", "2") == [2, 1]
    assert read("$all", "--from", "9") == [9, 10]
    assert read("$all", "--backward", "--count", "1") == [10]
    assert read("s", "--from", "11") == []


def test_an_event_is_found_by_its_id(shell: Shell) -> None:
    shell.run("append", "order-1", "OrderPlaced", "1")
    shell.run("append", "order-2", "OrderPlaced", "2")
    [event] = shell.json("read", "order-2")
    [line] = shell.run("find", event["event_id"]).splitlines()
    assert line.endswith("order-2@1  OrderPlaced  2")
    [found] = shell.json("find", event["event_id"])
    assert found == {**event, "position": 2}
    nobody = str(uuid4())
    assert nobody in shell.refused("find", nobody, code=1)
    assert "must be a UUID: 'x'" in shell.refused("find", "x", code=2)


def test_streams_are_chosen_by_their_ids_and_ordered(shell: Shell) -> None:
    for name in ("order-2", "cart-1", "order-1"):
        shell.run("append", name, "T", "1")

    def listed(*options: str) -> list[str]:
        return [info["stream_id"] for info in shell.json("streams", *options)]

    assert listed() == ["cart-1", "order-1", "order-2"]
    assert listed("--prefix", "order-") == ["order-1", "order-2"]
    assert listed("--search", "-1", "--descending") == ["order-1", "cart-1"]
    assert listed("--order", "creation", "--count", "2") == ["order-2", "cart-1"]
    assert listed("--order", "creation", "--after", "order-2") == ["cart-1", "order-1"]
    missing = shell.refused("streams", "--order", "creation", "--after", "no", code=1)
    assert "'no' does not exist" in missing


def test_a_missing_stream_is_refused_by_its_name(shell: Shell) -> None:
    """G12."""
    assert "'nowhere' does not exist" in shell.refused("read", "nowhere", code=1)


@pytest.mark.parametrize("stream_id", ["", "$streams", "字" * 1000])
def test_an_impossible_stream_id_is_wrong_usage(shell: Shell, stream_id: str) -> None:
    assert "stream_id" in shell.refused("read", stream_id, code=2)


def test_a_stream_id_that_is_no_text_is_wrong_usage(shell: Shell) -> None:
    done = subprocess.run(
        [SCRIPT.encode(), b"read", b"caf\xe9"],
        env=shell.environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"eventstore: stream_id must be valid Unicode")


def test_head_closes_the_pipe_and_nobody_complains(shell: Shell) -> None:
    shell.run("append", "s", "T", stdin="\n".join([json.dumps("x" * 1000)] * 1000))
    pipe = f"set -o pipefail; {SCRIPT} read s --json | head -n 1; echo $? >&2"
    done = subprocess.run(
        ["bash", "-c", pipe], env=shell.environment, capture_output=True, check=True
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == b"141\n"


def test_a_full_disk_is_refused_in_one_line(shell: Shell) -> None:
    shell.run("append", "s", "T", "1")
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [SCRIPT, "read", "s"],
            env=shell.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr.decode()) == (1, f"eventstore: {os.strerror(ENOSPC)}\n")


def test_streams_are_listed_in_byte_order_with_their_versions(shell: Shell) -> None:
    for stream_id in ("b", "a", "ä", "B", "a"):
        shell.run("append", stream_id, "T", "1")
    listed = shell.json("streams")
    assert [(info["stream_id"], info["stream_version"]) for info in listed] == [
        ("B", 1),
        ("a", 2),
        ("b", 1),
        ("ä", 1),
    ]
    assert [info["stream_id"] for info in shell.json("streams", "--after", "a")] == ["b", "ä"]
    assert [info["stream_id"] for info in shell.json("streams", "--count", "2")] == ["B", "a"]
    assert [line.split()[-1] for line in shell.run("streams").splitlines()] == ["B", "a", "b", "ä"]


def test_tail_follows_new_events_until_ctrl_c(shell: Shell) -> None:
    """G23: without waiting for the next one."""
    shell.run("append", "s", "T", '"before"')
    with shell.start("tail", "--json", "--from", "1") as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["data"] == "before"
        for value in ("one", "two"):
            shell.run("append", "s", "T", json.dumps(value))
            assert json.loads(tail.stdout.readline())["data"] == value
        tail.send_signal(signal.SIGINT)
        assert tail.communicate(timeout=PATIENCE) == (b"", b"")
        assert tail.returncode == 0


def test_tail_starts_at_the_end_unless_told(shell: Shell) -> None:
    shell.run("append", "s", "T", '"before"')
    with shell.start("tail") as tail:
        assert tail.stdout is not None
        for number in range(100):
            shell.run("append", "s", "T", f'"after {number}"')
            if b"after" in _first_bytes(tail):
                break
        tail.send_signal(signal.SIGINT)
        out, err = tail.communicate(timeout=PATIENCE)
    assert b"before" not in out
    assert (err, tail.returncode) == (b"", 0)


def _first_bytes(process: subprocess.Popen[bytes]) -> bytes:
    """Return what is there already, without waiting for more than a moment."""
    import select

    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 0.5)
    return process.stdout.peek(1) if ready else b""  # type: ignore[attr-defined]


def test_ctrl_c_ends_a_read_quietly_with_130(shell: Shell) -> None:
    shell.run("append", "s", "T", stdin="\n".join([json.dumps("x" * 1000)] * 2000))
    with shell.start("read", "s", "--json") as read:
        assert read.stdout is not None
        read.stdout.readline()
        read.send_signal(signal.SIGINT)
        _, err = read.communicate(timeout=PATIENCE)
    assert (err, read.returncode) == (b"", 130)


def test_raw_payloads_are_printed_as_they_are_stored(shell: Shell, dsn: str, schema: str) -> None:
    """F26: also those that another serializer wrote."""

    class Own(JsonSerializer):
        format = "own"

        def serialize(self, value: Any) -> bytes:
            return b"\xff\x1b[31m" + super().serialize(value)

    shell.run("append", "s", "T", '{"a": 1.50}', "--metadata", "1")
    with EventStore.connect(
        Config(dsn, schema=schema, serializer=Own()), runtime=CallerRuntime
    ) as store:
        store.append_to_stream("s", 1, [EventData("T", 2)])

    for stream in ("s", "$all"):
        first, second = shell.run("read", stream, "--raw").splitlines()
        assert first.endswith('T  {"a":1.5}  1')
        assert second.endswith("T  \\xff\\x1b[31m2")
        raw = [base64.b64decode(event["data"]) for event in shell.json("read", stream, "--raw")]
        assert raw == [b'{"a":1.5}', b"\xff\x1b[31m2"]
    assert "--raw" in shell.refused("read", "s", code=1)
    assert len(shell.json("read", "s", "--count", "1")) == 1


def test_the_package_is_a_program_too(shell: Shell) -> None:
    """F57."""
    shell.run("append", "s", "T", "1")
    for module in ("eventstore", "eventstore.cli"):
        done = subprocess.run(
            [sys.executable, "-m", module, "read", "s", "--json"],
            env=shell.environment,
            capture_output=True,
            check=True,
        )
        assert json.loads(done.stdout)["data"] == 1
