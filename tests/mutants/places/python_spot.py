"""A node of Python code that was found, and the edits that splice new text in its place."""

from __future__ import annotations

import ast
import builtins
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tests.mutants.places.place import DoesNotApplyError, Edit, Spot
from tests.mutants.places.product import Definition, Product
from tests.mutants.places.python_nodes import walk, words_of

__all__ = ["PythonSpot"]

# These bind more tightly than every operator: no parentheses are needed around them.
_ATOMS = (
    ast.Attribute,
    ast.Call,
    ast.Constant,
    ast.Dict,
    ast.List,
    ast.Name,
    ast.Set,
    ast.Subscript,
)


@dataclass(frozen=True)
class PythonSpot(Spot):
    """A node, with everything around it."""

    product: Product
    definition: Definition
    chain: tuple[ast.AST, ...]
    """From the module down to the node."""

    @property
    def node(self) -> ast.AST:
        return self.chain[-1]

    @property
    def text(self) -> str:
        return self._text_of(self.node)

    @property
    def source(self) -> str:
        return self.product.files[self.definition.file]

    def replaced(self, text: str) -> Edit:
        if isinstance(self.node, ast.stmt):
            return self._with_statements(self.node, text)
        if isinstance(self.node, ast.pattern):
            return self._edit(self.node, text)
        parsed = self._parsed(text, "eval")
        assert isinstance(parsed, ast.Expression)
        is_atom = isinstance(parsed.body, _ATOMS)
        return self._edit(self.node, text if is_atom else f"({text})")

    def removed(self) -> Edit:
        node, parent = self.node, self.chain[-2]
        if isinstance(node, ast.stmt):
            return self._with_statements(node, "pass")
        match parent:
            case ast.Expr():
                return self._edit(parent, "pass")
            case ast.BoolOp(op, operands):
                word = " and " if isinstance(op, ast.And) else " or "
                return self._without(parent, operands, word)
            case ast.MatchOr(patterns):
                return self._without(parent, patterns, " | ")
            case ast.BinOp(left, _, right):
                return self._without(parent, [left, right], "")
            case ast.Tuple(elements):
                rest = [self._text_of(each) + "," for each in elements if each is not node]
                return self._edit(parent, f"({' '.join(rest)})")
            case ast.Set(elements) | ast.List(elements):
                return self._without_item(elements, node)
            case ast.Call(_, arguments, keywords):
                return self._without_item([*arguments, *keywords], node)
            case ast.keyword() if isinstance(call := self.chain[-3], ast.Call):
                return self._without_item([*call.args, *call.keywords], parent)
        raise DoesNotApplyError(f"do not know how to remove {self.text!r}")

    def negated(self) -> Edit:
        return self.replaced(f"not ({self.text})")

    def literal(self, value: bool | float | str | None) -> Edit:
        text = repr(value)
        return self._edit(self.node, f"({text})" if text.startswith("-") else text)

    def surrounded(self, *, before: str = "", after: str = "") -> Edit:
        node = self.node if isinstance(self.node, ast.stmt) else self.chain[-2]
        if not isinstance(node, ast.stmt):
            raise DoesNotApplyError(f"{self.text!r} is no statement")
        # The first line stands where it did, whatever is before it.
        own = " " * node.col_offset + self._text_of(node)
        more = [self._indented(each, node.col_offset) for each in (before, after)]
        lines = [each for each in (more[0], own, more[1]) if each]
        return self._edit(node, "\n".join(lines).lstrip())

    def with_block(self, block: str, text: str) -> Edit:
        statements = getattr(self.node, block, None)
        if not isinstance(statements, list) or not statements:
            return super().with_block(block, text)
        start, end = self._span(statements[0])[0], self._span(statements[-1])[1]
        if self.source.startswith("elif", start):
            raise DoesNotApplyError(f"{self.text!r} goes on with an elif: name that")
        indented = self._indented(text, statements[0].col_offset).lstrip()
        return Edit(self.definition.file, self.source, start, end, indented)

    def with_operator(self, operator: str) -> Edit:
        match self.node:
            case ast.Compare(left, [_], [right]) | ast.BinOp(left, _, right):
                return self._joined(self.node, [left, right], f" {operator} ")
            case ast.BoolOp(_, operands):
                return self._joined(self.node, operands, f" {operator} ")
            case _:
                return super().with_operator(operator)

    def calling(self, name: str) -> Edit:
        match self.node:
            case ast.Call(ast.Attribute(value) as callee):
                text = f"{self._text_of(value)}.{name}"
            case ast.Call(ast.Name() as callee):
                text = name
            case _:
                return super().calling(name)
        self._parsed(text, "eval")
        return self._edit(callee, text)

    def with_attribute(self, name: str) -> Edit:
        match self.node:
            case ast.Attribute(value):
                return self.replaced(f"{self._text_of(value)}.{name}")
            case _:
                return super().with_attribute(name)

    def done_once(self) -> Edit:
        if not isinstance(self.node, ast.While):
            return super().done_once()
        start, _ = self._span(self.node)
        return Edit(self.definition.file, self.source, start, start + len("while"), "if")

    def _with_statements(self, statement: ast.stmt, text: str) -> Edit:
        column = statement.col_offset
        if self.source.startswith("elif", self._span(statement)[0]):
            return self._edit(statement, "else:\n" + self._indented(text, column + 4))
        return self._edit(statement, self._indented(text, column).lstrip())

    def _indented(self, text: str, column: int) -> str:
        self._parsed(text, "exec")
        return textwrap.indent(textwrap.dedent(text).strip("\n"), " " * column)

    def _without(self, parent: ast.AST, parts: Sequence[ast.AST], joint: str) -> Edit:
        return self._joined(parent, [each for each in parts if each is not self.node], joint)

    def _joined(self, parent: ast.AST, parts: Sequence[ast.AST], joint: str) -> Edit:
        if len(parts) == 1:
            return self._edit(parent, f"({self._text_of(parts[0])})")
        texts = [self._text_of(each) for each in parts]
        return self._edit(parent, f"({joint.join(f'({text})' for text in texts)})")

    def _without_item(self, items: Sequence[ast.AST], item: ast.AST) -> Edit:
        """Take *item* out of a list in the text, with the comma beside it."""
        ordered = sorted(items, key=self._span)
        place = ordered.index(item)
        start, end = self._span(item)
        if place + 1 < len(ordered):
            end = self._span(ordered[place + 1])[0]
        elif place:
            start = self._span(ordered[place - 1])[1]
        return Edit(self.definition.file, self.source, start, end, "")

    def _edit(self, node: ast.AST, text: str) -> Edit:
        return Edit(self.definition.file, self.source, *self._span(node), text)

    def _text_of(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self.source[start:end]

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.stmt | ast.expr | ast.pattern | ast.keyword)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._offset(node.lineno, node.col_offset),
            self._offset(node.end_lineno, node.end_col_offset),
        )

    def _offset(self, line: int, column: int) -> int:
        """Return the index in the text of a place that `ast` counts in lines and bytes."""
        before = self._lines[: line - 1]
        head = self._lines[line - 1].encode()[:column].decode()
        return sum(map(len, before)) + len(before) + len(head)

    @cached_property
    def _lines(self) -> list[str]:
        return self.source.split("\n")

    def _parsed(self, text: str, mode: str) -> ast.AST:
        """Parse new text.

        Raises:
            DoesNotApplyError: It is no Python, or uses a name that does not exist at this place.
        """
        try:
            parsed = compile(textwrap.dedent(text), "<change>", mode, ast.PyCF_ONLY_AST)
        except SyntaxError as error:
            raise DoesNotApplyError(f"{text!r} is no Python: {error}") from error
        nodes = list(walk(parsed))
        bound = {name for each in nodes for name in _bound(each)}
        used = {each.id for each in nodes if isinstance(each, ast.Name) and each.id not in bound}
        attributes = {each.attr for each in nodes if isinstance(each, ast.Attribute)}
        if unknown := sorted((used - self._names) | (attributes - self.product.words)):
            raise DoesNotApplyError(f"{text!r} uses names that mean nothing here: {unknown}")
        return parsed

    @cached_property
    def _names(self) -> set[str]:
        """What a plain name may mean in this function."""
        own = {word for each in walk(self.definition.node) for word in words_of(each)}
        return own | self.product.global_names[self.definition.file] | set(dir(builtins))


def _bound(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.alias):
        yield node.asname or node.name
