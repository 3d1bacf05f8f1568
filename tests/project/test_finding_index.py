from __future__ import annotations

import functools

import pytest

from tests.findings import INDEX, Finding, current, findings, index, named_by
from tests.guarantees import TESTS, Place, places

PLACES = functools.cache(lambda: list(places(TESTS)))

OPEN = {number for number, entry in findings().items() if not entry["cause"]}


def test_the_index_is_up_to_date() -> None:
    assert INDEX.read_text("utf-8") == current(), "run: make guarantees"


@pytest.mark.parametrize("number", sorted(findings().keys() - OPEN))
def test_a_finding_with_a_cause_has_tests_and_says_what_else_was_tried(number: str) -> None:
    assert findings()[number]["siblings"]
    assert named_by(number, PLACES()), f"no test names {number}"


def test_the_findings_are_numbered_without_a_gap() -> None:
    assert list(findings()) == [f"F{number}" for number in range(1, 60)]


def test_a_row_shows_the_finding_and_the_tests_that_name_it() -> None:
    tests = [
        Place("tests/test_a.py", "test_a", "F1, F12: both."),
        Place("tests/test_a.py", "helper", "F1: what test_a uses."),
        Place("tests/test_b.py", "Machine::rule", "F1."),
    ]
    entries = {
        "F1": Finding(input="a | b", cause="Why.", siblings="c"),
        "F2": Finding(input="d", cause="", siblings=""),
    }

    names = "`tests/test_a.py::test_a`<br>`tests/test_b.py::Machine::rule`"
    assert index(entries, tests).splitlines()[-2:] == [
        f"| F1 | a &#124; b | Why. | c | {names} |",
        "| F2 | d | open |  |  |",
    ]
