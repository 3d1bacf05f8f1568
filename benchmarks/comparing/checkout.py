"""The source trees of the two sides and an environment for each, with shared dependencies."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Side", "checked_out", "describe", "install"]

ROOT = Path(__file__).parents[2]
"""The present source tree."""
_PROGRAM = Path(__file__).with_name("round_program.py")
_ROUND_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two versions that are compared."""

    name: str
    tree: Path
    python: Path

    def run(self, *arguments: object) -> str:
        """Run a round in a process of this side and return the line it prints.

        Raises:
            RuntimeError: It failed; the message holds the end of its output.
            subprocess.TimeoutExpired: It took minutes.
        """
        # -P: else modules beside the script would hide modules of the standard library.
        command: list[str | Path] = [self.python, "-P", _PROGRAM, *map(str, arguments)]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            command,
            cwd=self.tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_ROUND_TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{self.name} failed:\n{done.stderr[-3_000:]}")
        line: str = done.stdout.splitlines()[-1]
        return line


def describe(commit: str) -> str:
    """Return the short hash and the subject of *commit*.

    Raises:
        ValueError: There is no such commit.
    """
    done = _git("log", "-1", "--format=%h %s", commit, "--", check=False)
    if done.returncode != 0:
        raise ValueError(f"no such commit: {commit}")
    return done.stdout.strip()


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """Keep a work tree of *commit* in *folder* while this lasts."""
    _git("worktree", "add", "--detach", str(folder), commit)
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def install(tree: Path, folder: Path) -> Path:
    """Create an environment in *folder* for the project in *tree*; return its interpreter.

    The dependencies are those of the running interpreter, so both sides use the same versions.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(python)),
            *("--quiet", "--disable-pip-version-check"),
            *("install", "--no-deps", "--editable", str(tree)),
        ],
        check=True,
    )
    [packages] = folder.glob("lib/python*/site-packages")
    shared = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    # The name sorts behind the file of the editable project, so the project comes first. Python
    # ignores such files in the shared folder, so the project that is installed there stays out.
    (packages / "zz_shared_dependencies.pth").write_text("\n".join([*shared, ""]))
    return python


def _git(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = ["git", "-C", ROOT, *arguments]
    return subprocess.run(command, check=check, capture_output=True, text=True)
