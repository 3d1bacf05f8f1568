"""The lock files hold what the project asks for, by hash, and nothing of where they were made."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.readme import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LOCKS = {
    "dev.lock": ("binary", "embedded", "cli", "dev"),
    "bench.lock": ("binary", "embedded", "cli", "bench"),
}

_PIN = re.compile(r"([\w.-]+)==(\S+)(?: ; .+)? \\")
_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def lines(lock: str) -> list[str]:
    return (ROOT / "requirements" / lock).read_text("utf-8").splitlines()


def pins(lock: str) -> dict[str, set[str]]:
    """Return the versions of each package; several if they depend on the Python."""
    versions: dict[str, set[str]] = {}
    for name, version in (match.groups() for line in lines(lock) if (match := _PIN.match(line))):
        versions.setdefault(canonicalize_name(name), set()).add(version)
    return versions


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_pins_and_hashes_alone(lock: str) -> None:
    """F58: no address of a registry and no path: the one who installs chooses where from."""
    strange = [
        line for line in lines(lock) if not _PIN.fullmatch(line) and not _HASH.fullmatch(line)
    ]
    assert strange == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock: str) -> None:
    """F58: a machine of a later day installs what the tests passed with, or nothing."""
    for line, following in zip(lines(lock), [*lines(lock)[1:], ""], strict=True):
        if _PIN.fullmatch(line):
            assert _HASH.fullmatch(following), line


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_satisfies_every_requirement(lock: str) -> None:
    """F58: one that does not is out of date: run ``make lock``."""
    wanted = [*PROJECT["dependencies"], *(each for extra in LOCKS[lock] for each in EXTRAS[extra])]
    locked = pins(lock)
    for requirement in map(Requirement, wanted):
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, requirement
        assert all(requirement.specifier.contains(each) for each in versions), requirement


def test_the_locks_agree_on_what_they_share() -> None:
    """They are installed into one environment, one after the other."""
    dev, bench = pins("dev.lock"), pins("bench.lock")
    assert {name: bench[name] for name in dev.keys() & bench} == {
        name: dev[name] for name in dev.keys() & bench
    }


def test_the_build_backend_is_locked() -> None:
    """F58: the project is installed without build isolation."""
    [backend] = map(
        Requirement,
        tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"],
    )
    [version] = pins("dev.lock")[canonicalize_name(backend.name)]
    assert backend.specifier.contains(version)


def test_make_installs_nothing_but_what_is_locked() -> None:
    """F58: `make check` and `make test` on a fresh machine; only uv, for the locks, is not."""
    text = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    recipes = [recipe for recipe in text.split("\n\n") if "STAMP):" in recipe]
    installs = [
        line for recipe in recipes for line in recipe.splitlines() if "$(PIP) install" in line
    ]
    assert len(installs) >= len(LOCKS) + 1
    assert [line for line in installs if not _TAKES_WHAT_IS_LOCKED.search(line)] == []


_TAKES_WHAT_IS_LOCKED = re.compile(
    r"--require-hashes --requirement requirements/(dev|bench)\.lock$"
    r"|--no-deps --no-build-isolation --editable \.$"
)
