from __future__ import annotations

import json
import subprocess
import sys

import pytest

from eventstore.cli.failures import ExitCode, exit_code
from eventstore.model.errors import (
    DuplicateEventError,
    EventStoreError,
    OutcomeUnknownError,
    SchemaVersionError,
    StorageError,
    StorageUnavailableError,
)
from tests.support.cli import Shell

NOWHERE = "host=127.0.0.1 port=1 user=shop password=hunter2 dbname=shop"
COMMANDS = [
    "create",
    "init",
    "migrate",
    "drop",
    "status",
    "verify",
    "streams",
    "read",
    "tail",
    "append",
]


@pytest.fixture
def shell() -> Shell:
    return Shell()


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["import"]])
def test_every_command_has_help(shell: Shell, command: list[str]) -> None:
    text = shell.run(*command, "--help")
    assert text.startswith("usage: eventstore")
    assert max(map(len, text.splitlines())) <= 100


def test_help_loads_no_driver_no_actors_and_no_rich() -> None:
    """The start time of a command line is felt each time."""
    program = (
        "import sys, contextlib, json, io\n"
        "from eventstore.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    code = main(['read', '--help'])\n"
        "print(json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    code, modules = json.loads(done.stdout)
    assert code == 0
    assert not {"psycopg", "psycopg_pool", "pykka", "rich", "actors", "structlog"} & {*modules}


def test_the_module_runs_like_the_script() -> None:
    module = [sys.executable, "-m", "eventstore.cli", "--version"]
    done = subprocess.run(module, capture_output=True, text=True, check=True)
    assert done.stdout == Shell().run("--version")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["sing"], "invalid choice: 'sing'"),
        (["read"], "required: STREAM"),
        (["read", "s", "--from", "0"], "must be a number, 1 or more: '0'"),
        (["read", "s", "--from", "-1"], "must be a number, 1 or more: '-1'"),
        (["read", "s", "--from", "9" * 5000], "must be a number, 1 or more"),
        (["read", "s", "--count", "some"], "must be a number, 1 or more: 'some'"),
        (["read", "s", "--countt", "1"], "unrecognized arguments: --countt"),
        (["append", "s"], "required: TYPE"),
        (["append", "s", "T", "1", "--expected-version", "-1"], "must be a version"),
        (["append", "s", "T", "1", "--expected-version", "ANY!"], "must be a version"),
        (["append", "s", "T", "1", "--event-id", "7"], "must be a UUID: '7'"),
        (["subscriptions"], "required: COMMAND"),
        (["subscriptions", "reset", "n"], "required: --to"),
        (["subscriptions", "reset", "n", "--to", "-1"], "must be a number, 0 or more: '-1'"),
        (["snapshots"], "required: COMMAND"),
        (["snapshots", "read", "s"], "required: TYPE"),
        (["status", "--dsn"], "expected one argument"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_one_line(
    shell: Shell, arguments: list[str], said: str
) -> None:
    complaint = shell.refused(*arguments, code=2)
    assert said in complaint
    assert "--help" in complaint


def test_a_missing_database_names_the_two_ways_to_give_one(shell: Shell) -> None:
    complaint = shell.refused("status", code=2)
    assert "--dsn" in complaint
    assert "EVENTSTORE_DSN" in complaint


def test_memory_is_refused_because_nothing_could_be_seen(shell: Shell) -> None:
    assert "embedded:PATH" in shell.refused("status", "--dsn", "memory:", code=2)


@pytest.mark.parametrize("schema", ["", "s" * 57, "pg_catalog"])
def test_an_impossible_schema_is_exit_code_2(shell: Shell, schema: str) -> None:
    assert "schema" in shell.refused("status", "--dsn", NOWHERE, "--schema", schema, code=2)


@pytest.mark.parametrize("name", ["EVENTSTORE_CONNECT_TIMEOUT", "EVENTSTORE_POOL_SIZE"])
def test_a_setting_of_the_environment_that_cannot_be_read_is_named(shell: Shell, name: str) -> None:
    shell.environment[name] = "soon"
    assert name in shell.refused("status", "--dsn", NOWHERE, code=2)


@pytest.mark.parametrize(
    "command",
    [
        ["create"],
        ["init"],
        ["migrate"],
        ["drop", "--yes"],
        ["status"],
        ["verify"],
        ["streams"],
        ["read", "s"],
        ["tail"],
        ["append", "s", "T", "1"],
        ["import", "-"],
        ["subscriptions", "list"],
        ["subscriptions", "pause", "n"],
        ["snapshots", "read", "s", "T"],
        ["snapshots", "delete", "s", "T"],
    ],
)
def test_a_database_that_is_away_is_exit_code_3(shell: Shell, command: list[str]) -> None:
    complaint = shell.refused(*command, "--dsn", NOWHERE, code=3)
    assert "hunter2" not in complaint
    assert "eventstore create" not in complaint


@pytest.mark.parametrize(
    "dsn",
    [
        "hunter2",
        "host=x password='hunter2",
        "postgresql://shop:p@hunter2@127.0.0.1/shop",
        "user=shop password=hunter2 unknown=1",
    ],
)
def test_a_dsn_that_cannot_be_read_is_exit_code_2_and_not_shown(shell: Shell, dsn: str) -> None:
    complaint = shell.refused("status", "--dsn", dsn, code=2)
    assert "dsn" in complaint
    assert "hunter2" not in complaint


def test_a_password_in_the_wrong_place_is_not_shown(shell: Shell) -> None:
    arguments = ["--dns", "postgresql://shop:hunter2@localhost/shop", "status"]
    assert "hunter2" not in shell.refused(*arguments, code=2)


def test_an_embedded_store_needs_a_path(shell: Shell) -> None:
    assert "path" in shell.refused("status", "--dsn", "embedded:", code=2)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SchemaVersionError("", found=None, expected=1), ExitCode.SCHEMA),
        (StorageUnavailableError(), ExitCode.AWAY),
        (OutcomeUnknownError(), ExitCode.AWAY),
        (StorageError(), ExitCode.REFUSED),
        (DuplicateEventError.__new__(DuplicateEventError), ExitCode.REFUSED),
        (EventStoreError(), ExitCode.REFUSED),
        (ValueError(), ExitCode.USAGE),
        (TypeError(), ExitCode.USAGE),
        (RuntimeError(), ExitCode.REFUSED),
    ],
)
def test_every_error_has_its_exit_code(error: Exception, code: ExitCode) -> None:
    assert exit_code(error) is code
