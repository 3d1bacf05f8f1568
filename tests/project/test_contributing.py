"""CONTRIBUTING.md names the files that a change touches; they are few, and the right ones."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from eventstore.model.event_filter import FilterKeywords
from eventstore.model.subscription import SubscriptionOptions
from tests.surfaces import FILES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")

MOST_FILES = {
    "an option of a subscription": 3,
    "a column of an event": 4,
    "a storage call": 4,
    "a command": 3,
}


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def table(title: str) -> dict[str, str]:
    """Return the second cell of each row of the table below a heading, by the first."""
    section = re.split(r"^## ", TEXT.partition(f"\n## {title}\n")[2], flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|", section, re.MULTILINE)
    return dict(rows[1:])


CHANGES = {what: named(files) for what, files in table("How to add something").items()}


@cache
def product_files() -> dict[str, frozenset[str]]:
    """Return the names that the code of each file uses; prose does not count."""
    paths = [*(ROOT / "eventstore").rglob("*.py"), *(ROOT / "actors").rglob("*.py")]
    return {
        str(path.relative_to(ROOT)): frozenset(_identifiers(ast.parse(path.read_text("utf-8"))))
        for path in paths
        if "demo" not in path.parts
    }


def _identifiers(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                found.add(name)
            case ast.keyword(arg=str(name)) | ast.alias(name=name):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.ImportFrom(module=str(name)):
                found.add(name)
            case _:
                pass
    return found


def using(*names: str, under: str = "") -> set[str]:
    """Return the files of the product that use one of *names*."""
    return {
        path
        for path, used in product_files().items()
        if path.startswith(under) and not used.isdisjoint(names)
    }


def test_every_file_and_room_that_is_named_exists() -> None:
    for what, files in CHANGES.items():
        assert files, what
        for file in files:
            assert (ROOT / file).is_file(), f"{what}: {file}"
    for room in table("The rooms"):
        assert (ROOT / named(room)[0]).exists(), room


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", TEXT)) <= targets


@pytest.mark.parametrize(("what", "most"), MOST_FILES.items())
def test_a_change_touches_few_files(what: str, most: int) -> None:
    assert len(CHANGES[what]) == len({*CHANGES[what]}) <= most


def test_the_files_of_an_option_are_those_of_one_there_is() -> None:
    assert using("max_batch_size") == {*CHANGES["an option of a subscription"]}


def options_of_subscriptions_alone() -> list[str]:
    """Return the options that reads do not have, too."""
    shared = FilterKeywords.__annotations__
    return [field.name for field in fields(SubscriptionOptions) if field.name not in shared]


@pytest.mark.parametrize("option", options_of_subscriptions_alone())
def test_no_option_of_a_subscription_is_known_to_more_files(option: str) -> None:
    generated = {str(path.relative_to(ROOT)) for path in FILES}
    files = {path for path in using(option) if not path.startswith("eventstore/storages/")}
    files -= generated
    assert "eventstore/model/subscription.py" in files
    assert len(files) <= MOST_FILES["an option of a subscription"], files


def test_the_files_of_a_command_are_those_of_one_there_is() -> None:
    own = "eventstore/cli/verify_command.py"
    assert own in CHANGES["a command"]
    knowing = using("VERIFY", "eventstore.cli.verify_command", under="eventstore/")
    assert knowing == {*CHANGES["a command"]}


def test_the_files_of_an_error_are_those_of_one_there_is() -> None:
    naming = {
        path
        for path in CHANGES["an error"]
        if "HistoryRewoundError" in (ROOT / path).read_text("utf-8")
    }
    assert naming == {*CHANGES["an error"]}


@pytest.mark.parametrize("column", ["causation_id", "correlation_id"])
def test_the_files_of_a_column_are_those_of_one_there_is(column: str) -> None:
    knowing = using(column) | {"schema.sql"}
    assert column in (ROOT / "schema.sql").read_text("utf-8")
    assert knowing == {*CHANGES["a column of an event"]}
