from __future__ import annotations

from pathlib import Path

import pytest

from tests.guarantees import INDEX, Place, current, index, places, promised

README = """\
## Before

- **G9** Not a guarantee: another section.

## Guarantees

Numbers.

- **G1** An append
  is atomic.
- **G2** Order, (G1) too.

## After

- **G3** Neither.
"""


def test_the_index_is_up_to_date() -> None:
    assert INDEX.read_text("utf-8") == current(), "run: make guarantees"


def test_promises_are_read_from_their_section_as_one_line_each() -> None:
    assert promised(README) == {1: "An append is atomic.", 2: "Order, (G1) too."}


@pytest.mark.parametrize(
    ("old", "new"), [("**G2**", "**G1**"), ("**G2**", "**G3**"), ("## Guarantees", "## Promises")]
)
def test_a_readme_with_a_gap_a_repetition_or_without_the_section_is_refused(
    old: str, new: str
) -> None:
    with pytest.raises(ValueError, match="uarantees"):
        promised(README.replace(old, new))


def test_functions_and_classes_are_found_at_every_depth(tmp_path: Path) -> None:
    source = '''
class StoreMachine:
    def rule(self):
        """G2."""

if True:
    async def test_it():
        """G1, G2: always."""
'''
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "test_it.py").write_text(source)

    found = {str(place): place.guarantees for place in places(tmp_path)}

    file = f"{tmp_path.name}/room/test_it.py"
    assert found == {
        f"{file}::StoreMachine": set(),
        f"{file}::StoreMachine::rule": {2},
        f"{file}::test_it": {1, 2},
    }


def test_the_index_lists_the_tests_below_each_promise_and_says_where_there_is_none() -> None:
    tests = [
        Place("tests/test_a.py", "test_a", "G1, G12: both."),
        Place("tests/test_a.py", "helper", "G1: what test_a uses."),
        Place("tests/test_b.py", "StoreMachine::rule", "G1."),
    ]

    text = index({1: "One.", 2: "Two."}, tests)

    assert text.partition("## G1")[2] == (
        "\n\nOne.\n\n- `tests/test_a.py::test_a`\n- `tests/test_b.py::StoreMachine::rule`\n"
        "\n## G2\n\nTwo.\n\nNo test names it.\n"
    )
