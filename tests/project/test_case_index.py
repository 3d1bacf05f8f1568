"""The table of the original's cases: complete, true and up to date."""

from __future__ import annotations

import functools

import pytest

from tests.cases import INDEX, OPEN, Cases, Decision, cases, current, index, named
from tests.guarantees import TESTS, Place, places

CASES = cases()["cases"]
DECISIONS = cases()["decisions"]
DECIDED = [case for decision in DECISIONS for case in decision["cases"]]
TESTED = functools.cache(lambda: named(places(TESTS)).keys())


def test_the_table_is_up_to_date() -> None:
    assert INDEX.read_text("utf-8") == current(), "run: make guarantees"


def test_every_case_has_a_test_or_a_decision_unless_it_is_open() -> None:
    assert sorted(CASES.keys() - TESTED() - {*DECIDED} - OPEN) == []


def test_what_has_a_test_or_a_decision_is_not_open() -> None:
    """The list of open cases only shrinks: take the case out of it."""
    assert sorted(OPEN & (TESTED() | {*DECIDED})) == []


def test_no_test_and_no_list_names_a_case_that_does_not_exist() -> None:
    """A typing error in an id would be a case without its test."""
    assert sorted((TESTED() | {*DECIDED} | OPEN) - CASES.keys()) == []


def test_no_case_is_decided_twice() -> None:
    assert len(DECIDED) == len({*DECIDED})


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: decision["cases"][0])
def test_a_decision_stands_where_the_table_says(decision: Decision) -> None:
    text = (TESTS.parent / decision["file"]).read_text("utf-8")
    assert decision["words"] in " ".join(text.split())


def test_a_row_shows_the_case_its_tests_and_what_was_decided() -> None:
    tests = [
        Place("tests/test_a.py", "test_a", "ABC-01, ABC-12, G1: both."),
        Place("tests/test_a.py", "helper", "ABC-01: what test_a uses."),
        Place("tests/test_b.py", "Machine::rule", "ABC-01, not ABC-011."),
    ]
    listed: Cases = {
        "cases": {"ABC-01": "one", "ABC-02": "two", "ABC-03": "three"},
        "decisions": [
            {"cases": ["ABC-01", "ABC-03"], "decision": "So.", "file": "README.md", "words": "so"}
        ],
    }

    names = "`tests/test_a.py::test_a`<br>`tests/test_b.py::Machine::rule`"
    assert index(listed, {"ABC-02"}, tests).splitlines()[-3:] == [
        f"| ABC-01 | one | {names} | So. (README.md) |",
        "| ABC-02 | two | *open* |  |",
        "| ABC-03 | three |  | So. (README.md) |",
    ]
