"""What is below a node of Python's syntax tree; pure functions over `ast`."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence

__all__ = [
    "Assignment",
    "assignments",
    "defaults",
    "last_name",
    "mentions",
    "parents",
    "parts",
    "position",
    "shown",
    "statement_around",
    "walk",
    "words_of",
]

Assignment = ast.Assign | ast.AnnAssign | ast.AugAssign


def words_of(node: ast.AST) -> Iterator[str]:
    """Return the identifiers that *node* itself holds, without those below it."""
    for _, value in ast.iter_fields(node):
        if isinstance(value, str) and not isinstance(node, ast.Constant):
            yield value


def position(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Return *node* and the nodes below it."""
    yield node
    for child in ast.iter_child_nodes(node):
        yield from walk(child)


def parents(root: ast.AST) -> dict[ast.AST, ast.AST]:
    """Return the parent of each node below *root*."""
    return {child: node for node in walk(root) for child in ast.iter_child_nodes(node)}


def last_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def mentions(node: ast.AST, name: str) -> bool:
    return any(
        name in words_of(each) or (isinstance(each, ast.Constant) and each.value == name)
        for each in ast.walk(node)
    )


def parts(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.BoolOp(_, parts) | ast.Call(_, parts):
            return [*parts]
        case ast.Tuple(parts) | ast.List(parts) | ast.Set(parts):
            return [*parts]
        case ast.MatchOr(patterns):
            return [*patterns]
        case ast.Compare(left, _, rest):
            return [left, *rest]
        case ast.BinOp(left, _, right):
            return [left, right]
        case ast.UnaryOp(_, operand):
            return [operand]
        case ast.IfExp(_, body, orelse):
            return [body, orelse]
        case _:
            return []


def assignments(node: ast.AST, name: str) -> Iterator[Assignment]:
    for below in walk(node):
        if isinstance(below, Assignment):
            targets = below.targets if isinstance(below, ast.Assign) else [below.target]
            if any(last_name(target) == name for target in targets):
                yield below


def defaults(node: ast.AST, parameter: str) -> list[ast.AST]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    by_place = zip(reversed(positional), reversed(given.defaults), strict=False)
    pairs = [*by_place, *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return [value for each, value in pairs if each.arg == parameter and value is not None]


def statement_around(node: ast.AST, ancestors: Sequence[ast.AST]) -> list[ast.AST]:
    around: list[ast.AST] = [each for each in (*ancestors, node) if isinstance(each, ast.stmt)]
    return around[-1:]


def shown(node: ast.AST) -> str:
    line = getattr(node, "lineno", "?")
    return f"\n  line {line}: {textwrap.shorten(ast.unparse(node), 100)}"
