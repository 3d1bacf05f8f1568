from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.support.forked import Forked, run_forked
from tests.support.waiting import PATIENCE

PROGRAM = "tests.support.statements"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return run_forked(PROGRAM, [code], environment={**os.environ, **environment}, stdin=b"given")


def test_a_fork_reads_prints_and_complains_as_a_process_does() -> None:
    done = run("import sys; print(sys.stdin.read()); print('oh', file=sys.stderr); sys.exit(3)")

    assert (done.returncode, done.stdout, done.stderr) == (3, b"given\n", b"oh\n")


def test_what_runs_at_the_end_of_an_interpreter_runs_in_a_fork() -> None:
    done = run("import atexit; atexit.register(print, 'bye')")

    assert (done.returncode, done.stdout) == (0, b"bye\n")


def test_an_error_is_a_traceback_and_exit_code_1() -> None:
    done = run("1 / 0")

    assert done.returncode == 1
    assert done.stderr.startswith(b"Traceback")
    assert done.stderr.endswith(b"ZeroDivisionError: division by zero\n")


def test_a_fork_has_the_environment_that_was_asked_for() -> None:
    done = run("import os; print(os.environ['WHOSE'])", WHOSE="mine")

    assert done.stdout == b"mine\n"
    assert "WHOSE" not in os.environ


@pytest.mark.parametrize(
    "chosen",
    ["__import__('random').random()", "__import__('eventstore').EventData('T', 1).event_id"],
)
def test_no_two_forks_choose_the_same(chosen: str) -> None:
    first, second = (run(f"print({chosen})").stdout for _ in range(2))

    assert first
    assert first != second


def test_a_fork_can_be_killed() -> None:
    code = "import threading; threading.Event().wait(60)"
    process = Forked(PROGRAM, [code], environment=os.environ, streams=(0, 1, 2))
    assert process.poll() is None
    process.kill()

    assert process.wait(timeout=PATIENCE) == -signal.SIGKILL
    assert process.poll() == -signal.SIGKILL
    process.kill()
