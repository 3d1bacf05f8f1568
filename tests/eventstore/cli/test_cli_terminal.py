from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstore import Config, EventData, EventStore, ExpectedVersion, SubscriptionState
from eventstore.cli.output import cells
from tests.support.cli import Shell
from tests.support.terminal import COLUMNS, terminal
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def shell(dsn: str, schema: str) -> Shell:
    shell = Shell(dsn, schema)
    shell.run("init")
    return shell


@pytest.fixture
def service(dsn: str, schema: str, shell: Shell) -> Iterator[EventStore]:
    with EventStore.connect(Config(dsn, schema=schema)) as store:
        yield store


def shown(shell: Shell, *arguments: str, columns: int = COLUMNS, **variables: str) -> list[str]:
    """Return the lines on a terminal, without colours."""
    with terminal(shell, *arguments, columns=columns, **variables) as screen:
        text = screen.end()
    assert screen.process.returncode == 0, text
    return COLOUR.sub("", text).splitlines()


def test_events_are_cut_to_the_width_of_the_terminal(shell: Shell) -> None:
    shell.run("append", "s" * 300, "T" * 300, json.dumps({"text": "字" * 300}))
    shell.run("append", "order-1", "Placed", json.dumps({"text": "x" * 300}))
    long, short = shown(shell, "read", "$all")
    assert long.endswith("…")
    assert short.endswith("x…")
    assert "order-1@1  Placed  {" in short
    assert len(short) == COLUMNS
    assert len(long) <= COLUMNS


HOSTILE = "\x9b31m \u202e evil \u2066 \x7f \u200f \U000e0041 \u2028 \x1b]0;title\x07 é字😀"
"""What a terminal obeys, or draws elsewhere; and what it may draw."""


def test_nothing_that_a_terminal_obeys_reaches_it(shell: Shell, service: EventStore) -> None:
    """F55: in payloads, metadata and names, as text, as JSON, whole and raw, and in errors."""
    service.append_to_stream(HOSTILE, 0, [EventData(HOSTILE, {HOSTILE: HOSTILE}, HOSTILE)])
    service.subscribe_to_stream(HOSTILE, HOSTILE, lambda events: None)
    for command in (
        ["read", "$all"],
        ["read", "$all", "--full"],
        ["read", "$all", "--raw", "--full"],
        ["read", "$all", "--json"],
        ["streams"],
        ["streams", "--json"],
        ["status"],
        ["status", "--json"],
        ["subscriptions", "list"],
        ["subscriptions", "list", "--json"],
        ["append", HOSTILE, "T", "1"],
        ["append", HOSTILE, "T", "1", "--json"],
    ):
        text = "".join(shown(shell, *command))
        assert text.isprintable(), (command, text)
        assert "evil" in text or command[0] == "streams"
    for refused in (
        ["read", f"missing {HOSTILE}"],
        ["read", "s", HOSTILE],
        ["append", "s", "T", f"[{HOSTILE}"],
        ["append", "s", "T", json.dumps({HOSTILE: 1})[:-1] + "," + json.dumps({HOSTILE: 2})[1:]],
        ["import", f"/missing/{HOSTILE}"],
        ["subscriptions", "pause", HOSTILE],
    ):
        with terminal(shell, *refused) as screen:
            text = screen.end()
        assert text.startswith("eventstore: "), text
        assert text.removesuffix("\n").isprintable(), (refused, text)


def test_json_on_a_terminal_has_the_same_value_as_in_a_pipe(
    shell: Shell, service: EventStore
) -> None:
    """F55."""
    service.append_to_stream("s", 0, [EventData("T", {HOSTILE: HOSTILE})])
    [line] = shown(shell, "read", "s", "--json")
    assert [json.loads(line)] == shell.json("read", "s")
    assert "é字😀" in line
    assert HOSTILE in shell.run("read", "s", "--json").replace("\\u001b", "\x1b").replace(
        "\\u0007", "\x07"
    )


def test_full_shows_the_whole_payload(shell: Shell) -> None:
    """F57."""
    payload = {"text": "字" * 300, "end": "here"}
    shell.run("append", "s", "T", json.dumps(payload))
    for command in (["read", "s", "--full"], ["read", "$all", "--full"]):
        [line] = shown(shell, *command)
        assert json.loads(line[line.index("{") :]) == payload
    with terminal(shell, "tail", "--from", "1", "--full") as screen:
        screen.wait_for("here")
        screen.type("\x03")
        screen.end()
    [cut] = shown(shell, "read", "s")
    assert cut.endswith("…")


@pytest.mark.parametrize("columns", [1, 20, 40, 66])
@pytest.mark.parametrize("with_rich", [True, False])
def test_status_can_be_read_on_a_narrow_terminal(
    shell: Shell, service: EventStore, tmp_path: Path, columns: int, *, with_rich: bool
) -> None:
    """F57: a line for each cell, and no word is cut to pieces."""
    if not with_rich:
        (tmp_path / "rich.py").write_text("raise ImportError('not installed')\n")
    service.subscribe_to_all_streams("carrier-delays", lambda events: None)
    service.subscribe_to_stream("order-1", "名" * 30, lambda events: None)
    lines = shown(shell, "status", columns=columns, PYTHONPATH=str(tmp_path))
    table = lines[lines.index("") + 1 :]
    titles = ["subscription", "stream", "state", "checkpoint", "lag", "behind", "parked", "owner"]
    found = [line.split(" ")[0] for line in table if line and line[0] != " "]
    assert found == titles * 2
    if columns >= 40:
        assert max(cells(line) for line in table) <= columns
        assert "subscription  carrier-delays" in table
        assert "stream        $all" in table
    assert "".join(line[14:] for line in table).count("名") == 30


def test_colour_is_left_out_if_asked(shell: Shell) -> None:
    shell.run("append", "s", "T", "1")
    with terminal(shell, "read", "s") as screen:
        assert COLOUR.search(screen.end())
    with terminal(shell, "read", "s", NO_COLOR="1") as screen:
        assert not COLOUR.search(screen.end())


def test_the_table_of_subscriptions_fits_the_terminal(shell: Shell, service: EventStore) -> None:
    service.append_to_stream("s", ExpectedVersion.ANY, [EventData("T", 1)])
    service.subscribe_to_all_streams("carrier-delays", lambda events: None)
    service.subscribe_to_stream("n" * 100, "a" * 100, lambda events: None)
    # While it catches up, the state takes the room that the name has afterwards.
    wait_until(lambda: {each.state for each in service.subscriptions()} == {SubscriptionState.LIVE})
    lines = shown(shell, "status")
    table = lines[lines.index("") :]
    assert max(map(len, table)) <= COLUMNS
    assert len(table) > 4
    assert any("carrier-delays" in line and "$all" in line for line in lines)


def test_status_is_a_plain_table_without_rich(
    shell: Shell, service: EventStore, tmp_path: Path
) -> None:
    """The extra ``[cli]`` is optional."""
    (tmp_path / "rich.py").write_text("raise ImportError('not installed')\n")
    service.subscribe_to_all_streams("carrier-delays", lambda events: None)
    lines = shown(shell, "status", PYTHONPATH=str(tmp_path))
    assert any("carrier-delays" in line and "$all" in line for line in lines)


@pytest.mark.parametrize("with_rich", [True, False])
def test_an_import_shows_how_far_it_is(shell: Shell, tmp_path: Path, *, with_rich: bool) -> None:
    if not with_rich:
        (tmp_path / "rich.py").write_text("raise ImportError('not installed')\n")
    file = tmp_path / "events.jsonl"
    line = '{"stream_id": "s", "event_type": "T", "data": 1}\n'
    file.write_text(line * 3_000)
    with terminal(shell, "import", str(file), PYTHONPATH=str(tmp_path)) as screen:
        text = screen.end()
    assert ("importing" in text) is with_rich
    assert "3,000 events stored" in text


def test_append_without_data_on_a_terminal_asks_for_it(shell: Shell) -> None:
    with terminal(shell, "append", "s", "T") as screen:
        assert screen.end().startswith("eventstore: DATA is missing")
    assert screen.process.returncode == 2


def test_lines_can_be_typed_after_a_dash(shell: Shell) -> None:
    with terminal(shell, "append", "s", "T", "-") as screen:
        screen.type("1\n2\n\x04")
        assert "s: versions 1 to 2, positions 1 to 2" in screen.end()


def test_tail_says_how_to_end_it_and_ctrl_c_does(shell: Shell) -> None:
    with terminal(shell, "tail") as screen:
        screen.wait_for("Ctrl-C")
        shell.run("append", "s", "T", '"here"')
        screen.wait_for("here")
        screen.type("\x03")
        screen.end()
    assert screen.process.returncode == 0


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"])
def test_drop_asks_and_does_nothing_without_a_yes(shell: Shell, answer: str) -> None:
    shell.run("append", "s", "T", "1")
    with terminal(shell, "drop") as screen:
        screen.wait_for("[y/N]")
        screen.type(answer)
        assert "nothing was done" in screen.end()
    assert screen.process.returncode == 1
    assert len(shell.json("read", "s")) == 1


def test_drop_asks_and_drops_after_a_yes(shell: Shell) -> None:
    shell.run("append", "s", "T", "1")
    with terminal(shell, "drop") as screen:
        screen.wait_for("1 event")
        screen.wait_for("[y/N]")
        screen.type("y\n")
        screen.end()
    assert screen.process.returncode == 0
    shell.refused("read", "s", code=4)


def test_ctrl_c_at_the_question_drops_nothing(shell: Shell) -> None:
    with terminal(shell, "drop") as screen:
        screen.wait_for("[y/N]")
        screen.process.send_signal(signal.SIGINT)
        screen.end()
    assert screen.process.returncode == 130
    shell.run("status")
