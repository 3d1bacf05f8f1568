"""The table of what goes wrong elsewhere names tests that exist, and each of its folder's tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.acceptance.peers import ROWS

ROOT = Path(__file__).parents[2]
FOLDER = Path("tests/acceptance/peers")


def found_in(file: Path) -> Iterator[str]:
    for node in ast.parse((ROOT / file).read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield f"{file.as_posix()}::{node.name}"


NAMED = {test for row in ROWS for test in row.tests}


def test_every_row_names_tests_that_exist() -> None:
    assert all(row.tests for row in ROWS)
    files = {Path(test.partition("::")[0]) for test in NAMED}
    assert not NAMED - {test for file in files for test in found_in(file)}


def test_every_test_of_the_folder_is_named_by_a_row() -> None:
    files = [file.relative_to(ROOT) for file in (ROOT / FOLDER).glob("test_*.py")]
    assert not {test for file in files for test in found_in(file)} - NAMED
