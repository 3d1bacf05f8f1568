"""The list of mutants does not rot: each still applies, and names tests that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import DoesNotApplyError, Mutant

TREE = Path(__file__).parents[2]


@cache
def text_of(file: str) -> str:
    return (TREE / file).read_text("utf-8")


def does_not_apply(mutant: Mutant) -> str | None:
    try:
        mutated = mutant.mutated(text_of(mutant.file))
        if mutant.file.endswith(".py"):
            compile(mutated, mutant.file, "exec")
    except (DoesNotApplyError, SyntaxError) as error:
        return str(error)
    return None if mutated != text_of(mutant.file) else f"{mutant.name} changes nothing"


def test_every_mutant_changes_one_place_of_the_product() -> None:
    assert [why for mutant in MUTANTS if (why := does_not_apply(mutant))] == []


def test_the_tests_that_have_to_notice_exist() -> None:
    killers = {killer for mutant in MUTANTS for killer in mutant.killers}
    found = {killer for killer in killers if f"def {killer.split('::')[1]}(" in _file_of(killer)}
    assert killers - found == set()


def _file_of(killer: str) -> str:
    return text_of(killer.split("::", maxsplit=1)[0])


def test_every_mutant_is_killed_by_somebody() -> None:
    assert [mutant.name for mutant in MUTANTS if not mutant.killers] == []


def test_each_mutant_has_a_name_of_its_own() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)


def test_every_mutant_breaks_a_guarantee() -> None:
    assert {mutant.guarantee for mutant in MUTANTS} <= {f"G{number}" for number in range(1, 35)}


@pytest.mark.parametrize("text", ["nothing of it", "the place, and the place again"])
def test_a_mutant_whose_place_is_gone_or_ambiguous_is_an_error(text: str) -> None:
    mutant = Mutant(
        "m",
        "G1",
        "Something.",
        "somewhere/claim.py",
        "the place",
        "another",
        ("t",),
    )

    with pytest.raises(DoesNotApplyError, match=r"m: in somewhere/claim\.py its text stands [02]"):
        mutant.mutated(text)
