"""Which tests of a room start services in processes of their own, as their source shows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["crossing_tests"]

_STARTERS = {"tests.support.processes.Service", "subprocess"}


class _Module:
    """What one file defines, and where the other names that it uses come from."""

    def __init__(self, path: Path) -> None:
        self.definitions: dict[str, ast.FunctionDef | ast.ClassDef] = {}
        self.origins: dict[str, str] = {}
        for node in ast.parse(path.read_text()).body:
            match node:
                case ast.FunctionDef() | ast.ClassDef():
                    self.definitions[node.name] = node
                case ast.ImportFrom(module, names):
                    self.origins |= {n.asname or n.name: f"{module}.{n.name}" for n in names}
                case ast.Import(names):
                    self.origins |= {n.asname or n.name: n.name for n in names}
                case _:
                    pass


def crossing_tests(room: Path) -> Iterator[ast.FunctionDef]:
    """Return every test that starts a process, by itself or through what it uses."""
    modules = {path.stem: _Module(path) for path in room.glob("*.py")}
    for stem, module in modules.items():
        for name, node in module.definitions.items():
            if not isinstance(node, ast.FunctionDef) or not name.startswith("test_"):
                continue
            if _starts(modules, stem, name, set()):
                yield node


def _starts(
    modules: dict[str, _Module], stem: str, name: str, passed: set[tuple[str, str]]
) -> bool:
    """Whether what *name* means in a module leads to a process; fixtures may be the room's."""
    if (stem, name) in passed:
        return False
    passed.add((stem, name))
    module = modules[stem]
    if node := module.definitions.get(name):
        return any(_starts(modules, stem, used, passed) for used in _used_by(node))
    if origin := module.origins.get(name):
        home, _, its_name = origin.rpartition(".")
        home = home.rpartition(".")[2]
        return origin in _STARTERS or (home in modules and _starts(modules, home, its_name, passed))
    return stem != "conftest" and _starts(modules, "conftest", name, passed)


def _used_by(node: ast.AST) -> set[str]:
    """Return the names of its parameters, which may be fixtures, and of all that is not its own."""
    names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
    own = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    parameters = {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
    return parameters | {name.id for name in names} - own
