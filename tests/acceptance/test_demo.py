"""The demo as a newcomer meets it: it ends well, what it prints works, and it finds a wrong sum."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import eventstore_actors.demo.__main__ as demo
from eventstore_actors.demo.flights import Flight, days_in_february
from eventstore_actors.demo.history import Happening, Kind, history
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

EQUAL = "Equal to the sums straight from the file: nothing lost, nothing counted twice."
COMMAND = [sys.executable, "-m", "eventstore_actors.demo"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ordinary(tmp_path_factory.mktemp("newcomer"))


def ordinary(parent: Path) -> Path:
    """Return a new folder with the rights that folders usually have."""
    folder = parent / "project"
    folder.mkdir()
    return folder


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def complaints(errors: str) -> list[str]:
    """Return the lines on stderr, without one that is true where others keep the disk busy.

    The demo's lease is short, so that its takeover can be watched. A statement that renews it gets
    two thirds of a second.
    """
    slow = "leases cannot be renewed"
    return [line for line in errors.splitlines() if not line.startswith(slow)]


@pytest.fixture(scope="module")
def first_run(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(folder)


def test_the_demo_counts_right_over_a_kill_and_a_pause(
    first_run: subprocess.CompletedProcess[str],
) -> None:
    """G5, G13, G14, G15, G20: 7,640 events, none lost, none counted twice."""
    assert (first_run.returncode, complaints(first_run.stderr)) == (0, [])
    assert EQUAL in first_run.stdout
    assert "7,640 events were delivered" in first_run.stdout
    processes = re.findall(
        r"^  (?:kill -9|took over) +process (\d+)", first_run.stdout, re.MULTILINE
    )
    assert len(set(processes)) == 2
    assert "delivered  none; 1,910 events wait" in first_run.stdout


def test_the_demo_fits_into_a_terminal_of_80_columns(
    first_run: subprocess.CompletedProcess[str],
) -> None:
    # The path of the command line is as long as the folder of the environment.
    lines = [line for line in first_run.stdout.splitlines() if "bin/eventstore" not in line]
    assert [line for line in lines if len(line) > 80] == []
    assert "\x1b" not in first_run.stdout


def test_the_commands_that_the_demo_prints_work(
    folder: Path, first_run: subprocess.CompletedProcess[str]
) -> None:
    commands = re.findall(r"^  (\S*eventstore .*)$", first_run.stdout, re.MULTILINE)
    assert len(commands) >= 5
    [dsn] = re.findall(r"export EVENTSTORE_DSN=(\S+)", first_run.stdout)
    for command in commands:
        if " tail " not in command:
            done = subprocess.run(
                shlex.split(command),
                cwd=folder,
                env={**os.environ, "EVENTSTORE_DSN": dsn},
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, ""), command
            assert done.stdout, command


def test_the_demo_runs_again_in_the_same_folder(
    folder: Path, first_run: subprocess.CompletedProcess[str]
) -> None:
    second_run = run(folder)
    assert (second_run.returncode, complaints(second_run.stderr)) == (0, [])
    assert EQUAL in second_run.stdout


def tampered(flights: Sequence[Flight]) -> list[Happening]:
    """One departure of all is reported a minute later than it was."""
    happenings = history(flights)
    number = next(n for n, h in enumerate(happenings) if n > 200 and h.kind is Kind.DEPARTED)
    flight = happenings[number].flight
    assert flight.departure_delay is not None
    later = replace(flight, departure_delay=flight.departure_delay + 1)
    happenings[number] = replace(happenings[number], flight=later)
    return happenings


def test_one_wrong_minute_in_one_event_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "days_in_february", lambda: days_in_february()[:400])
    monkeypatch.setattr(demo, "history", tampered)
    assert demo.main(["--data", str(tmp_path / "flights")]) == 1
    printed = capsys.readouterr().out
    assert "NOT EQUAL" in printed
    assert EQUAL not in printed


def test_ctrl_c_ends_everything_and_says_so(tmp_path: Path) -> None:
    folder = ordinary(tmp_path)
    with subprocess.Popen(
        COMMAND, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("  listens"):
                break
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert (process.returncode, complaints(errors)) == (130, [])
    assert output.endswith("Interrupted. Everything that was started has been stopped.\n")
    assert started
    wait_until(lambda: not any(child.is_running() for child in started))
    assert not (folder / "flights-demo" / "pgdata" / "postmaster.pid").exists()
