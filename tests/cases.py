"""The table from each case of the original to its tests: ``python -m tests.cases`` writes it.

`cases.toml` lists the cases, and what was decided otherwise. A test belongs to each case that its
docstring names.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable
from typing import TypedDict

from tests.guarantees import TESTS, Place, places

__all__ = ["INDEX", "OPEN", "Cases", "Decision", "cases", "current", "index", "named"]

SOURCE = TESTS / "cases.toml"
INDEX = TESTS / "CONFORMANCE.md"

OPEN: set[str] = set()
"""Cases without a test or a decision. It only shrinks."""

_HEADER = """\
# The original's cases and their tests

`make guarantees` writes this file from `cases.toml` and from the docstrings of the tests. A test
fails while the file is out of date. The cases are those of the test suite of the Elixir EventStore,
without what only Elixir can have. Nothing shows yet what is *open*: the list `OPEN` in `cases.py`.

| | case | tests | decided otherwise |
|---|---|---|---|
"""

_CASE = re.compile(r"\b[A-Z]{3}-\d{2}\b")


class Decision(TypedDict):
    """What differs in some cases, and where that is written."""

    cases: list[str]
    decision: str
    file: str
    words: str
    """They stand in the file, as they are here."""


class Cases(TypedDict):
    """`cases.toml`."""

    cases: dict[str, str]
    decisions: list[Decision]


def cases() -> Cases:
    """Return the cases by id, and the decisions."""
    found: Cases = tomllib.loads(SOURCE.read_text("utf-8"))  # type: ignore[assignment]
    return found


def named(candidates: Iterable[Place]) -> dict[str, list[Place]]:
    """Return the tests among *candidates* by the cases that their docstrings name."""
    tests: dict[str, list[Place]] = {}
    for place in candidates:
        if place.is_test:
            for case in dict.fromkeys(_CASE.findall(place.docstring)):
                tests.setdefault(case, []).append(place)
    return tests


def index(listed: Cases, still_open: Collection[str], candidates: Iterable[Place]) -> str:
    """Return the table as Markdown, one row per case."""
    tests = named(candidates)
    decisions = {case: each for each in listed["decisions"] for case in each["cases"]}
    return _HEADER + "".join(
        _row(case, text, tests.get(case, []), decisions.get(case), is_open=case in still_open)
        for case, text in listed["cases"].items()
    )


def _row(
    case: str, text: str, tests: list[Place], decision: Decision | None, *, is_open: bool
) -> str:
    names = "<br>".join(f"`{test}`" for test in tests)
    decided = "" if decision is None else f"{decision['decision']} ({decision['file']})"
    return f"| {case} | {text} | {names or ('*open*' if is_open else '')} | {decided} |\n"


def current() -> str:
    """Return what the table must say now."""
    return index(cases(), OPEN, places(TESTS))


if __name__ == "__main__":
    INDEX.write_text(current(), "utf-8")
