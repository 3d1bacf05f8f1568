"""The index from each finding to its tests: ``python -m tests.findings`` writes FINDINGS.md.

A finding is a small input that once broke a promise; `findings.toml` lists them. A test belongs to
each one that its docstring names.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from typing import TypedDict

from tests.guarantees import TESTS, Place, places

__all__ = ["INDEX", "Finding", "current", "findings", "index", "named_by"]

SOURCE = TESTS / "findings.toml"
INDEX = TESTS / "FINDINGS.md"

_HEADER = """\
# Findings and their tests

`make guarantees` writes this file from `findings.toml` and from the docstrings of the tests. A test
fails while the file is out of date.

| | input | cause | siblings tried | tests |
|---|---|---|---|---|
"""

_NUMBER = re.compile(r"\bF\d+\b")


class Finding(TypedDict):
    """A section of `findings.toml`."""

    input: str
    cause: str
    """What was wrong, in one line; empty while the finding is open."""
    siblings: str
    """The same mistake elsewhere and the next worse values, all of them tried."""


def findings() -> dict[str, Finding]:
    """Return the findings by number: ``F1``, ``F2`` …"""
    found: dict[str, Finding] = tomllib.loads(SOURCE.read_text("utf-8"))
    return found


def named_by(number: str, candidates: Iterable[Place]) -> list[Place]:
    """Return the tests among *candidates* whose docstring names the finding."""
    return [
        place
        for place in candidates
        if place.is_test and number in _NUMBER.findall(place.docstring)
    ]


def index(entries: dict[str, Finding], candidates: Iterable[Place]) -> str:
    """Return the index as Markdown, one row per finding."""
    tests = list(candidates)
    return _HEADER + "".join(
        _row(number, entry, named_by(number, tests)) for number, entry in entries.items()
    )


def _row(number: str, entry: Finding, tests: list[Place]) -> str:
    names = "<br>".join(f"`{test}`" for test in tests)
    cells = [number, entry["input"], entry["cause"] or "open", entry["siblings"], names]
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def current() -> str:
    """Return what the index must say now."""
    return index(findings(), places(TESTS))


if __name__ == "__main__":
    INDEX.write_text(current(), "utf-8")
