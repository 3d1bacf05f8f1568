"""The list of mutants does not rot: each still applies, and names tests that exist."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import constant, replace
from tests.mutants.places.place import DoesNotApplyError, Edit
from tests.mutants.places.product import Product
from tests.mutants.places.python_place import PythonPlace, function
from tests.mutants.workshop import Workshop

TREE = Path(__file__).parents[2]
PRODUCT = Product(TREE)


@cache
def text_of(file: str) -> str:
    return (TREE / file).read_text("utf-8")


def does_not_apply(mutant: Mutant) -> str | None:
    try:
        edit = mutant.edit(PRODUCT)
        if edit.file.suffix == ".py":
            compile(edit.result, str(edit.file), "exec")
    except (DoesNotApplyError, SyntaxError) as error:
        return str(error)
    if _meaning(edit) == _without_layout(edit.file.suffix, edit.source):
        return f"{mutant.name} changes nothing but the layout"
    return None


def test_every_mutant_changes_one_place_of_the_product() -> None:
    reasons = [why for mutant in MUTANTS if (why := does_not_apply(mutant))]
    assert not reasons, "\n\n".join(reasons)


def test_the_tests_that_have_to_notice_exist() -> None:
    killers = {killer for mutant in MUTANTS for killer in mutant.killers}
    found = {killer for killer in killers if f"def {killer.split('::')[1]}(" in _file_of(killer)}
    assert killers - found == set()


def _file_of(killer: str) -> str:
    file = killer.split("::", maxsplit=1)[0]
    return text_of(file) if (TREE / file).exists() else ""


def test_every_mutant_is_killed_by_somebody() -> None:
    assert [mutant.name for mutant in MUTANTS if not mutant.killers] == []


def test_each_mutant_has_a_name_of_its_own() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)


def test_every_mutant_breaks_a_guarantee() -> None:
    assert {mutant.guarantee for mutant in MUTANTS} <= {f"G{number}" for number in range(1, 44)}


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """The product with every module in another folder and every file in another layout."""
    tree: Path = tmp_path_factory.mktemp("moved")
    for number, (file, text) in enumerate(PRODUCT.files.items()):
        target = tree / "house" / f"room_{number}" / file.name
        target.parent.mkdir(parents=True)
        target.write_text(_laid_out_anew(file, text), "utf-8")
    (tree / "pyproject.toml").write_text(
        '[tool.hatch.build.targets.wheel]\npackages = ["house"]\n', "utf-8"
    )
    return Product(tree)


def _laid_out_anew(file: Path, text: str) -> str:
    if file.suffix == ".py":
        return ast.unparse(ast.parse(text))
    without_comments = re.sub(r"--[^\n]*", "", text)
    return re.sub(r" *\n\s*", "\n\n  ", without_comments)


def test_a_moved_module_or_another_layout_costs_no_mutant(moved: Product) -> None:
    differ = [
        mutant.name
        for mutant in MUTANTS
        if _meaning(mutant.edit(PRODUCT)) != _meaning(mutant.edit(moved))
    ]
    assert differ == []


def _meaning(edit: Edit) -> str:
    """Return the file after the edit without its layout and its comments."""
    return _without_layout(edit.file.suffix, edit.result)


@cache
def _without_layout(suffix: str, text: str) -> str:
    if suffix == ".py":
        return ast.dump(ast.parse(text))
    return re.sub(r"--[^\n]*|\s+", "", text)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            function("Keeper._tel"),
            r"m: no Keeper\._tel; near it are:\n.*Keeper\._tell in .*keeper",
        ),
        (
            function("Keeper._work").condition(),
            r"m: Keeper\._work > condition: wanted one condition, found \d+\n  0: line \d+: now",
        ),
        (
            function("Keeper._work").call("_loo"),
            r"m: Keeper\._work > call of _loo: wanted one call of _loo, found 0",
        ),
    ],
)
def test_a_mutant_whose_place_is_gone_or_ambiguous_says_what_is_there(
    place: PythonPlace, message: str
) -> None:
    mutant = Mutant("m", "G1", "Something.", place, constant(False), ("t",))

    with pytest.raises(DoesNotApplyError, match=message):
        mutant.edit(PRODUCT)


def test_a_mutant_that_changes_nothing_is_an_error() -> None:
    place = function("Keeper._work").call("_look")
    mutant = Mutant("m", "G1", "Something.", place, replace("{}"), ("t",))

    with pytest.raises(DoesNotApplyError, match="m changes nothing"):
        mutant.edit(PRODUCT)


def test_the_product_is_what_the_wheel_holds() -> None:
    wheel = tomllib.loads(text_of("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    roots = [*wheel["packages"], *wheel["force-include"]]
    assert all(any(file.is_relative_to(root) for file in PRODUCT.files) for root in roots)
    assert all(any(file.is_relative_to(root) for root in roots) for file in PRODUCT.files)


PROBE = """
import os

def test_probe(tmp_path, request):
    plugins = request.config.pluginmanager
    assert not plugins.hasplugin("xdist"), "spread over processes"
    assert not plugins.hasplugin("cacheprovider"), "remembers other runs"
    assert "PYTEST_XDIST_WORKER" not in os.environ
    with open({notes!r}, "a") as notes:
        print(tmp_path, os.environ["HYPOTHESIS_STORAGE_DIRECTORY"], file=notes)
    (tmp_path / "old").mkdir()
"""


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    with Workshop() as workshop:
        yield workshop


def test_no_run_of_a_mutants_tests_meets_another(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F59: neither its temporary folders nor what it remembers, whatever the settings are."""
    notes = tmp_path / "notes"
    probe = workshop.tree / "probe" / "test_probe.py"
    probe.parent.mkdir()
    probe.write_text(PROBE.format(notes=str(notes)), "utf-8")
    settings = workshop.tree / "pyproject.toml"
    text = settings.read_text("utf-8")
    settings.write_text(text.replace("addopts = [", 'addopts = ["-n", "2", '), "utf-8")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-n 2")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")

    runs = [workshop.run_tests(["probe"]) for _ in range(2)]

    assert [run.output for run in runs if not run.passed] == []
    folders = [Path(each) for each in notes.read_text("utf-8").split()]
    assert len(set(folders)) == 4
    assert not any(folder.exists() for folder in folders)
    assert all(folder.is_relative_to(workshop.tree.parent) for folder in folders)
