"""The product's source: the files that the wheel holds, wherever they lie."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.mutants.places.python_nodes import parents, walk, words_of

__all__ = ["Definition", "Product"]


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, class or variable and the module that it stands in."""

    name: str
    """Qualified within its module, as in ``Class.method``."""
    file: Path
    """Relative to the tree."""
    module: str
    """Dotted."""
    node: ast.AST

    def __str__(self) -> str:
        return f"{self.name} in {self.module}"


class Product:
    """One tree of the product; each file is read once, on first use."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree

    @cached_property
    def files(self) -> dict[Path, str]:
        """Text of each Python and SQL file, by its path in the tree."""
        roots = [*self._wheel["packages"], *self._wheel.get("force-include", {})]
        found = [path for root in roots for path in self._files_of(self.tree / root)]
        return {path.relative_to(self.tree): path.read_text("utf-8") for path in sorted(found)}

    @property
    def import_path(self) -> list[Path]:
        """The folders in which Python finds the product's packages."""
        return sorted({(self.tree / package).parent for package in self._wheel["packages"]})

    @cached_property
    def _wheel(self) -> dict[str, Any]:
        settings: dict[str, Any] = tomllib.loads((self.tree / "pyproject.toml").read_text("utf-8"))
        for key in ("tool", "hatch", "build", "targets", "wheel"):
            settings = settings[key]
        return settings

    @staticmethod
    def _files_of(root: Path) -> list[Path]:
        paths = [root] if root.is_file() else root.rglob("*")
        return [path for path in paths if path.suffix in {".py", ".sql"}]

    @cached_property
    def modules(self) -> dict[Path, ast.Module]:
        return {
            file: ast.parse(text, str(file))
            for file, text in self.files.items()
            if file.suffix == ".py"
        }

    def way_to(self, file: Path, node: ast.AST) -> tuple[ast.AST, ...]:
        """Return the nodes from the module in *file* down to *node*, both included."""
        above = self._parents[file]
        way = [node]
        while way[-1] in above:
            way.append(above[way[-1]])
        return tuple(reversed(way))

    @cached_property
    def _parents(self) -> dict[Path, dict[ast.AST, ast.AST]]:
        return {file: parents(module) for file, module in self.modules.items()}

    @cached_property
    def definitions(self) -> list[Definition]:
        """Every function, every class, and every variable of a module."""
        return [
            Definition(name, file, ".".join(file.with_suffix("").parts), node)
            for file, module in self.modules.items()
            for name, node in _definitions(module, "")
        ]

    @cached_property
    def global_names(self) -> dict[Path, frozenset[str]]:
        """What each module defines or imports."""
        return {
            file: frozenset(
                (alias.asname or alias.name).split(".")[0]
                for node in walk(module)
                if isinstance(node, ast.Import | ast.ImportFrom)
                for alias in node.names
            ).union(each.name for each in self.definitions if each.file == file)
            for file, module in self.modules.items()
        }

    @cached_property
    def words(self) -> frozenset[str]:
        """Every identifier of the Python files: a change that uses another one is a typo."""
        return frozenset(
            word
            for module in self.modules.values()
            for node in walk(module)
            for word in words_of(node)
        )


def _definitions(parent: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(parent):
        inner = prefix
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if _is_overload(node):
                continue
            yield prefix + node.name, node
            inner = f"{prefix}{node.name}."
        elif isinstance(parent, ast.Module | ast.ClassDef):
            for target in _targets(node):
                yield prefix + target, node
        yield from _definitions(node, inner)


def _targets(node: ast.AST) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    return any(ast.unparse(each).split(".")[-1] == "overload" for each in node.decorator_list)
