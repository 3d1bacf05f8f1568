"""The house has rooms: each is described, each file is one idea, and no name stands for two."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.support.readme import ROOT

PACKAGES = ("eventstore", "actors/eventstore_actors")
MAX_LINES = 400
FACADES = {Path("eventstore/client/store.py"), Path("eventstore/client/async_store.py")}
"""One class by design: every method only delegates. The second one is generated."""


def modules(*packages: str) -> list[Path]:
    """Return the modules of *packages*, as paths from the root of the repository."""
    return [
        path.relative_to(ROOT)
        for package in packages
        for path in sorted((ROOT / package).rglob("*.py"))
        if "node_modules" not in path.parts
    ]


def test_no_file_is_too_long() -> None:
    lines = {
        path: len((ROOT / path).read_text("utf-8").splitlines()) for path in modules(*PACKAGES)
    }
    assert lines.keys() > FACADES
    assert {path for path, count in lines.items() if count > MAX_LINES} <= FACADES


def test_no_two_modules_have_the_same_name() -> None:
    """A name says what a module is about; who looks for one of two such finds the other."""
    names = Counter(
        path.name
        for path in modules(*PACKAGES, "benchmarks")
        if path.name not in {"__init__.py", "__main__.py"}
    )
    assert len(names) > 50
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("room", sorted({path.parent for path in modules(*PACKAGES)}), ids=str)
def test_every_room_says_what_it_is(room: Path) -> None:
    entrance = ROOT / room / "__init__.py"
    assert entrance.is_file()
    assert ast.get_docstring(ast.parse(entrance.read_text("utf-8")))
