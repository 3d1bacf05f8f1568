"""Every promise has a test that names it: guarantees by number, conformance cases by id."""

from __future__ import annotations

import ast
import re
from functools import cache

from tests.conformance.crossing import crossing_tests
from tests.guarantees import README, TESTS, Place, places, promised

GUARANTEES = set(promised(README.read_text("utf-8")))

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


@cache
def all_places() -> tuple[Place, ...]:
    return tuple(places(TESTS))


def test_every_guarantee_is_named_by_a_test() -> None:
    named = {number for place in all_places() if place.is_test for number in place.guarantees}

    assert sorted(GUARANTEES - named) == []


def test_every_guarantee_that_processes_can_break_is_named_by_a_test_with_processes() -> None:
    named = {
        int(number)
        for test in crossing_tests(ROOM)
        for number in GUARANTEE.findall(ast.get_docstring(test) or "")
    }

    assert sorted(ACROSS_PROCESSES - named) == []


def test_every_case_of_the_original_has_its_counterpart() -> None:
    named = {found for place in all_places() for found in CASE.findall(place.docstring)}
    required = {(group, f"{number:02}") for group, cases in CASES.items() for number in cases}

    assert sorted(required - named) == []


def test_no_test_names_what_does_not_exist() -> None:
    """A typing error in a number would be a promise to nobody."""
    named = {number for place in all_places() for number in place.guarantees}

    assert sorted(named - GUARANTEES) == []
