"""Every guarantee has a test that names its number."""

from __future__ import annotations

import ast
import re
from functools import cache

from tests.conformance.crossing import crossing_tests
from tests.guarantees import README, TESTS, Place, places, promised

GUARANTEES = set(promised(README.read_text("utf-8")))

# What only processes of their own can break: kills, frozen owners, somebody else's commits.
ACROSS_PROCESSES = {4, 5, 9, *range(13, 17), 21, 23, 25, 27, 29, 31, 33, 34, 37}
ROOM = TESTS / "acceptance" / "guarantees"

GUARANTEE = re.compile(r"\bG(\d+)\b")


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


def test_no_test_names_what_does_not_exist() -> None:
    """A typing error in a number would be a promise to nobody."""
    named = {number for place in all_places() for number in place.guarantees}

    assert sorted(named - GUARANTEES) == []
