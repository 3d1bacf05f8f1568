"""A mistyped place of a store: commands that read create nothing, and say what is missing where."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventstore import CallerRuntime, EventStore, SchemaVersionError
from tests.support.cli import Shell

READING = (
    ["status"],
    ["streams"],
    ["read", "s"],
    ["read", "$all"],
    ["tail"],
    ["verify"],
    ["migrate"],
    ["subscriptions", "list"],
    ["subscriptions", "pause", "shipping"],
    ["subscriptions", "resume", "shipping"],
    ["subscriptions", "reset", "shipping", "--to", "0"],
    ["subscriptions", "delete", "shipping"],
)


def words(command: list[str]) -> str:
    return " ".join(command)


def everything_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded store with one event; no server runs in it."""
    folder = tmp_path_factory.mktemp("embedded") / "shop"
    with EventStore.connect(f"embedded:{folder}", runtime=CallerRuntime):
        pass
    return folder


@pytest.mark.parametrize("command", READING, ids=words)
def test_a_mistyped_folder_is_exit_code_4_and_is_not_created(
    tmp_path: Path, command: list[str]
) -> None:
    """F53: the message names the folder and the command that would create a store."""
    complaint = Shell(f"embedded:{tmp_path / 'shpo'}").refused(*command, code=4)
    assert str(tmp_path / "shpo") in complaint
    assert "eventstore init" in complaint
    assert everything_in(tmp_path) == []


def test_a_folder_of_something_else_stays_as_it_is(tmp_path: Path) -> None:
    """F53: an existing folder without a store gets no lock files, no log, and no server."""
    (tmp_path / "cat.png").touch()
    (tmp_path / "pgdata.new").mkdir()  # an initdb was killed here
    before = everything_in(tmp_path)
    assert str(tmp_path) in Shell(f"embedded:{tmp_path}").refused("status", code=4)
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("command", READING, ids=words)
def test_a_mistyped_schema_of_an_embedded_store_is_exit_code_4_and_is_not_created(
    shop: Path, command: list[str]
) -> None:
    """F53: the second time, too."""
    shell = Shell(f"embedded:{shop}", "evenstore")
    for _ in range(2):
        complaint = shell.refused(*command, code=4)
        assert "'evenstore'" in complaint
        assert "eventstore init" in complaint


@pytest.mark.parametrize("command", READING, ids=words)
def test_a_mistyped_schema_of_a_server_is_exit_code_4_and_is_not_created(
    dsn: str, schema: str, command: list[str]
) -> None:
    """F53: as before, so that a server and an embedded one behave alike."""
    shell = Shell(dsn, schema)
    for _ in range(2):
        assert repr(schema) in shell.refused(*command, code=4)


def test_there_is_nothing_to_drop_in_a_mistyped_folder(tmp_path: Path) -> None:
    """F53: dropping is idempotent, and creates nothing to drop."""
    shell = Shell(f"embedded:{tmp_path / 'shpo'}")
    assert str(tmp_path / "shpo") in shell.run("drop", "--yes")
    assert shell.json("drop", "--yes") == [{"done": "missing"}]
    assert everything_in(tmp_path) == []


def test_an_import_of_a_mistyped_file_creates_no_store(tmp_path: Path) -> None:
    """F53: an argument that cannot be used is found before the store is created."""
    shell = Shell(f"embedded:{tmp_path / 'shop'}")
    assert "boxse.jsonl" in shell.refused("import", str(tmp_path / "boxse.jsonl"), code=2)
    assert everything_in(tmp_path) == []


def test_commands_that_write_create_the_store(tmp_path: Path) -> None:
    """F53: what is documented stays: `append` and `import` need no `init` before them."""
    line = '{"stream_id": "s", "event_type": "T", "data": 1}\n'
    Shell(f"embedded:{tmp_path / 'appended'}").run("append", "s", "T", "1")
    Shell(f"embedded:{tmp_path / 'imported'}").run("import", "-", stdin=line)
    for name in ("appended", "imported"):
        assert Shell(f"embedded:{tmp_path / name}").json("status")[0]["head"] == 1


@pytest.mark.parametrize("runtime", [None, CallerRuntime], ids=["actors", "caller"])
def test_the_library_creates_an_embedded_store_unless_told_not_to(
    tmp_path: Path, runtime: type[CallerRuntime] | None
) -> None:
    """F53: ``init=False`` creates nothing; saying nothing creates what is private."""
    target = f"embedded:{tmp_path / 'shop'}"
    with pytest.raises(SchemaVersionError, match="there is no embedded server") as refused:
        EventStore.connect(target, runtime=runtime, init=False)
    assert refused.value.found is None
    assert everything_in(tmp_path) == []

    EventStore.connect(target, runtime=runtime).close()
    with EventStore.connect(target, runtime=runtime, init=False) as store:
        assert store.read_all_streams_forward() == []
