"""A copy of the tree in which mutants are made and tests are run; the tree itself stays whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.mutants.mutant import Mutant
from tests.mutants.places.product import Product

__all__ = ["TestRun", "Workshop"]

TREE = Path(__file__).parents[2]

LONGEST_TEST = 60
"""Seconds: a mutant may make a test hang, which is noticed, too."""

_PASSED = 0
_FAILED = 1

# The project's own options do not count: one that spreads a run over processes would make the
# runs of two mutants compete for time.
_PYTEST = (
    *("-m", "pytest", "-x", "-q", "-rf", "--tb=no", "-o", "addopts=", "-p", "no:cacheprovider"),
    *("-p", "no:xdist", "--hypothesis-seed", "1", "--timeout", str(LONGEST_TEST)),
)

_IMPORTED = (
    "import eventstore, eventstore_actors as actors;"
    " print(actors.__file__, eventstore.__file__, sep='\\n')"
)


@dataclass(frozen=True, slots=True)
class TestRun:
    """What pytest said."""

    code: int
    output: str
    __test__ = False  # not a test class, whatever its name

    @property
    def passed(self) -> bool:
        return self.code == _PASSED

    @property
    def first_failure(self) -> str | None:
        """The test that failed, and why. None: no test failed, whatever else went wrong."""
        failed = re.search(r"^FAILED (.*)$", self.output, re.MULTILINE)
        return failed[1] if failed and self.code == _FAILED else None


class Workshop:
    """The copy, and a folder for each run; gone when it is closed."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="eventstore-mutants-"))
        self.tree = self._home / "tree"
        for name in _tracked_files():
            target = self.tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / name, target)
        self._product = Product(self.tree)

    def prove_that_the_copy_is_imported(self) -> None:
        """Raise unless Python in here imports the copy, and not the installed original."""
        printed = self._python("-c", _IMPORTED).stdout.split()
        strangers = [path for path in printed if not Path(path).is_relative_to(self.tree)]
        if len(printed) != 2 or strangers:
            raise RuntimeError(f"tests would run the original, not the copy: {printed}")

    def run_tests(self, tests: Iterable[str]) -> TestRun:
        """Run *tests* until the first one fails, in a folder that no other run uses."""
        folder = Path(tempfile.mkdtemp(dir=self._home, prefix="run-"))
        try:
            done = self._python(
                *(*_PYTEST, "--basetemp", str(folder / "tmp"), *tests),
                HYPOTHESIS_STORAGE_DIRECTORY=str(folder / "hypothesis"),
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return TestRun(done.returncode, done.stdout + done.stderr)

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        """Have *mutant* in the copy while the block runs."""
        edit = mutant.edit(self._product)
        path = self.tree / edit.file
        path.write_text(edit.result, "utf-8")
        try:
            yield
        finally:
            path.write_text(edit.source, "utf-8")

    def close(self) -> None:
        shutil.rmtree(self._home)

    def _python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        ours = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
        environment = {
            **ours,
            **variables,
            "PYTHONPATH": os.pathsep.join(map(str, self._product.import_path)),
            # Two mutants of one size within one second would look the same to Python.
            "PYTHONDONTWRITEBYTECODE": "1",
            # Room for the reason beside the name of a test that failed.
            "COLUMNS": "250",
        }
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.tree,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tracked_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=TREE, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.split("\0") if name and (TREE / name).exists()]
