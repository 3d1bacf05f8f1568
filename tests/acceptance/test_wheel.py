"""The built wheel holds the library alone, and works beside an application's own `actors`."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.readme import ROOT, blocks

OWN_ACTORS = "MAILER = 'the own mailer'\n"
USE_THEM = "import actors\nimport eventstore\nprint(actors.MAILER, eventstore.__file__)\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build with the backend of this environment; nothing is downloaded."""
    folder = tmp_path_factory.mktemp("dist")
    _run(
        ROOT,
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        str(folder),
    )
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def metadata(wheel: Path, names: list[str]) -> Message:
    [name] = [name for name in names if name.endswith(".dist-info/METADATA")]
    with ZipFile(wheel) as archive:
        return message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment with the wheel in it, and nothing of this repository.

    What the wheel depends on is that of this environment, and is found after the wheel.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
    _run(folder, *pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel))
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n", "utf-8")
    return programs


def _run(folder: Path, *command: str) -> str:
    """Return what *command* prints; it must succeed."""
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_two_packages_alone(names: list[str]) -> None:
    dist_info = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert len(dist_info) == 1
    assert {name.split("/")[0] for name in names} - dist_info == {"eventstore", "eventstore_actors"}


def test_the_wheel_holds_what_is_no_module(names: list[str]) -> None:
    [folder] = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert {
        "eventstore/py.typed",
        "eventstore_actors/py.typed",
        "eventstore/storages/postgres/admin/schema.sql",
        f"{folder}/licenses/LICENSE",
        f"{folder}/entry_points.txt",
    } <= set(names)


def test_the_schema_in_the_wheel_is_the_one_that_is_read_here(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        packed = archive.read("eventstore/storages/postgres/admin/schema.sql")
    assert packed == (ROOT / "schema.sql").read_bytes()


def test_the_metadata_says_what_a_reader_needs(metadata: Message) -> None:
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Author"] == "The eventstore developers"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    needed = metadata.get_all("Requires-Dist", [])
    assert not any("psycopg[binary]" in each and "extra ==" not in each for each in needed)


@pytest.mark.slow
@pytest.mark.parametrize("own", ["actors.py", "actors/__init__.py"])
def test_the_quick_start_runs_beside_actors_of_the_application(
    programs: Path, tmp_path: Path, own: str
) -> None:
    """The runtime is found by its entry point, whatever the application calls its modules."""
    (tmp_path / own).parent.mkdir(exist_ok=True)
    (tmp_path / own).write_text(OWN_ACTORS, "utf-8")
    quick_start = blocks("python")[0].code
    (tmp_path / "shop.py").write_text(USE_THEM + quick_start, "utf-8")
    first, *rest = _run(tmp_path, str(programs / "python"), "shop.py").splitlines()
    assert first.startswith("the own mailer ")
    assert first.startswith(str(programs.parent), len("the own mailer "))
    assert rest == ["#1 order-1: ship A-1"]


def test_the_command_line_is_installed(programs: Path, tmp_path: Path) -> None:
    dsn = f"embedded:{tmp_path / 'shop'}"
    command = str(programs / "eventstore")
    _run(tmp_path, command, "append", "order-1", "OrderPlaced", "{}", "--dsn", dsn)
    [status] = _run(tmp_path, command, "status", "--json", "--dsn", dsn).splitlines()
    assert json.loads(status)["head"] == 1
