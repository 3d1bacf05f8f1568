"""Every promise has a test that names it: guarantees by number, conformance cases by id."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.crossing import crossing_tests

TESTS = Path(__file__).parents[1]

GUARANTEES = set(range(1, 35))

# What only processes of their own can break: kills, frozen owners, somebody else's commits.
ACROSS_PROCESSES = {4, 5, 9, *range(13, 17), 21, 23, 25, 27, 29, 31, 33, 34}
ROOM = TESTS / "acceptance" / "guarantees"

# Of the original's suite, without links, deletes, snapshots, listings and transient subscriptions,
# and without the cases in which our design decides otherwise.
CASES = {
    "APP": {2, 3, 4, 5, 9, 10, 11, 12},
    "APS": {1, 2, 4, 5, 7, 8, 9, 10, 13, 14},
    "API": {2, 4, *range(11, 22), 26, 27, 28, 29, 30, 31},
    "RDS": {1, 2, *range(4, 12)},
    "SST": {1, 2, 3, *range(9, 20), 21, *range(23, 28)},
    "ALL": {1, 2, 4, 6, 7, 8, 11, 13},
    "INF": {1, 2, 3, 8, 9, 10},
    "PRT": {1, 2, 3, 4},
    "SUR": set(range(1, 8)),
    "NOT": {1, 3, 5},
    "REC": {1},
    "FSM": {*range(1, 14), *range(15, 19)},
    "SUB": {*range(1, 6), *range(7, 23), 24, 27, 28},
    "MSU": {1, 3, 4, 5},
    "ACK": {1, 2, 4},
    "BPR": {1, 2, 3, 4},
    "CUP": {1},
    "SLK": {2, 3, 4, 5, 6},
    "SEL": {1, 2},
}

GUARANTEE = re.compile(r"\bG(\d+)\b")
CASE = re.compile(r"\b([A-Z]{3})-(\d{2})\b")


def said_by_tests() -> Iterator[str]:
    """Return name and docstring of every test and of every rule of a state machine."""
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                yield f"{node.name} {ast.get_docstring(node) or ''}"


def test_every_guarantee_is_named_by_a_test() -> None:
    named = {int(number) for said in said_by_tests() for number in GUARANTEE.findall(said)}

    assert sorted(GUARANTEES - named) == []


def test_every_guarantee_that_processes_can_break_is_named_by_a_test_with_processes() -> None:
    named = {
        int(number)
        for test in crossing_tests(ROOM)
        for number in GUARANTEE.findall(ast.get_docstring(test) or "")
    }

    assert sorted(ACROSS_PROCESSES - named) == []


def test_every_case_of_the_original_has_its_counterpart() -> None:
    named = {found for said in said_by_tests() for found in CASE.findall(said)}
    required = {(group, f"{number:02}") for group, cases in CASES.items() for number in cases}

    assert sorted(required - named) == []


def test_no_test_names_what_does_not_exist() -> None:
    """A typing error in a number would be a promise to nobody."""
    named = {int(number) for said in said_by_tests() for number in GUARANTEE.findall(said)}

    assert sorted(named - GUARANTEES) == []
