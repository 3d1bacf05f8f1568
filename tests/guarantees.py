"""The index from each guarantee to its tests: ``python -m tests.guarantees`` writes GUARANTEES.md.

The guarantees are those of the README. A test belongs to each one that its docstring names, and so
do a state machine and its rules.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["INDEX", "README", "TESTS", "Place", "index", "places", "promised"]

TESTS = Path(__file__).parent
README = TESTS.parent / "README.md"
INDEX = TESTS / "GUARANTEES.md"

_HEADER = """\
# Guarantees and their tests

`make guarantees` writes this file from `README.md` and from the docstrings of the tests. A test
fails while the file is out of date.
"""

_SECTION = re.compile(r"^## Guarantees\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_PROMISE = re.compile(r"^- \*\*G(\d+)\*\* (.*(?:\n  .*)*)", re.MULTILINE)
_COMING = (41,)
"""Numbers that are taken, by guarantees that are not given yet."""
_NUMBER = re.compile(r"\bG(\d+)\b")


@dataclass(frozen=True, slots=True)
class Place:
    """A function or a class of the tests, and what its docstring says."""

    path: str
    name: str
    """With the names of the classes and functions around it, as in the ids of pytest."""
    docstring: str

    @property
    def guarantees(self) -> set[int]:
        """The numbers that the docstring names."""
        return {int(number) for number in _NUMBER.findall(self.docstring)}

    @property
    def is_test(self) -> bool:
        """Whether it checks something: a test, a state machine or one of its rules."""
        outermost, _, _ = self.name.partition("::")
        return outermost.startswith("test_") or outermost.endswith("Machine")

    def __str__(self) -> str:
        return f"{self.path}::{self.name}"


def promised(readme: str) -> dict[int, str]:
    """Return the text of each guarantee in *readme* as one line.

    Raises:
        ValueError: There is no section of guarantees, or a number is missing or given twice.
    """
    section = _SECTION.search(readme)
    if section is None:
        raise ValueError("the README has no section 'Guarantees'")
    found = [(int(number), " ".join(text.split())) for number, text in _PROMISE.findall(section[1])]
    numbers = [number for number, _ in found]
    expected = [number for number in range(1, max(numbers, default=0) + 1) if number not in _COMING]
    if numbers != expected:
        raise ValueError(f"guarantees must be numbered 1, 2, 3 ..., not {numbers}")
    return dict(found)


def places(folder: Path) -> Iterator[Place]:
    """Yield every function and class below *folder*, by file and line."""
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(folder.parent).as_posix()
        yield from _places_in(ast.parse(path.read_text("utf-8")), relative, "")


def _places_in(node: ast.AST, path: str, outer: str) -> Iterator[Place]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{outer}{child.name}"
            yield Place(path, name, ast.get_docstring(child) or "")
            yield from _places_in(child, path, f"{name}::")
        else:
            yield from _places_in(child, path, outer)


def index(promises: dict[int, str], candidates: Iterable[Place]) -> str:
    """Return the index as Markdown: each promise, and the tests among *candidates* that name it."""
    tests = [place for place in candidates if place.is_test]
    parts = [_HEADER]
    for number, text in promises.items():
        named_by = [f"- `{test}`\n" for test in tests if number in test.guarantees]
        parts += [f"## G{number}\n", f"{text}\n", "".join(named_by) or "No test names it.\n"]
    return "\n".join(parts)


def current() -> str:
    """Return what the index must say now."""
    return index(promised(README.read_text("utf-8")), places(TESTS))


if __name__ == "__main__":
    INDEX.write_text(current(), "utf-8")
