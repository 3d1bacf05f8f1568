"""Streams deleted from the shell."""

from __future__ import annotations

import pytest

from tests.support.cli import Shell

ENABLED = "EVENTSTORE_ENABLE_HARD_DELETES"


@pytest.fixture
def shell(dsn: str, schema: str) -> Shell:
    shell = Shell(dsn, schema)
    shell.run("init")
    shell.run("append", "box-1", "BoxPacked", "1")
    shell.run("append", "box-2", "BoxPacked", "2")
    return shell


def test_a_stream_is_deleted_at_its_version(shell: Shell) -> None:
    """G36: its events stay."""
    assert "is at version 1, expected 2" in shell.refused(
        "delete", "box-1", "--expected-version", "2", code=1
    )
    assert shell.run("delete", "box-1", "--expected-version", "1") == "deleted box-1\n"
    assert "was deleted" in shell.refused("read", "box-1", code=1)
    assert [event["stream_id"] for event in shell.json("read", "$all")] == ["box-1", "box-2"]


def test_a_hard_delete_erases_the_events(shell: Shell) -> None:
    """G36: where the environment allows it, and without a question only if it is told."""
    command = ("delete", "box-1", "--expected-version", "any", "--hard")
    assert f"--hard needs {ENABLED}=true" in shell.refused(*command, "--yes", code=2)
    shell.environment[ENABLED] = "true"
    assert "use --yes where nobody can answer" in shell.refused(*command, code=2)

    assert shell.json(*command, "--yes") == [
        {"stream_id": "box-1", "version": 1, "done": "deleted for good"}
    ]
    assert [event["position"] for event in shell.json("read", "$all")] == [2]
    assert "no problem in 1 events, 1 streams" in shell.run("verify")
    assert "does not exist" in shell.refused(*command, "--yes", code=1)


def test_a_version_has_to_be_named(shell: Shell) -> None:
    assert "--expected-version" in shell.refused("delete", "box-1", code=2)
    assert "must be a version" in shell.refused(
        "delete", "box-1", "--expected-version", "all", code=2
    )
