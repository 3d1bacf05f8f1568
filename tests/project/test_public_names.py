"""What is public is importable, and what is importable is public."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import eventstore
from eventstore import EventStoreError
from eventstore.model import errors

ROOT = Path(eventstore.__file__).parent


def test_what_is_exported_is_what_is_imported_as_itself() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    aliases = [
        alias
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eventstore.")
        for alias in node.names
    ]
    assert {(alias.name, alias.asname) for alias in aliases} == {
        (name, name) for name in eventstore.__all__
    }
    assert len(eventstore.__all__) == len(aliases) > 40


def test_a_star_import_brings_the_public_names_and_no_others() -> None:
    namespace: dict[str, object] = {}
    exec("from eventstore import *", namespace)
    assert namespace.keys() - {"__builtins__"} == {*eventstore.__all__}


def test_every_error_is_public() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, EventStoreError)
    }
    assert classes == set(errors.__all__)
    assert classes <= set(eventstore.__all__)
    assert all(name.endswith("Error") for name in classes)


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = errors.__doc__ or ""
    for name in errors.__all__:
        assert name in drawn, name


@pytest.mark.parametrize(
    "module",
    sorted(
        f"eventstore.{room}.{module.name}"
        for room in ("client", "model", "ports")
        for module in pkgutil.iter_modules([str(ROOT / room)])
    ),
)
def test_every_module_lists_what_it_offers(module: str) -> None:
    listed = getattr(importlib.import_module(module), "__all__", None)
    assert listed is not None
    tree = ast.parse((ROOT.parent / f"{module.replace('.', '/')}.py").read_text())
    defined = {
        name
        for node in tree.body
        for name in (
            [node.name]
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            else [node.target.id]
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
            else [t.id for t in node.targets if isinstance(t, ast.Name)]
            if isinstance(node, ast.Assign)
            else []
        )
    }
    assert set(listed) <= defined


def test_importing_the_library_imports_no_driver_and_no_actors() -> None:
    import subprocess
    import sys

    code = "import eventstore, sys; print([m for m in ('psycopg', 'pykka') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
