"""Places in Python code: a function by its qualified name, and a node of its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from tests.mutants.places.place import DoesNotApplyError, the_one
from tests.mutants.places.product import Definition, Product
from tests.mutants.places.python_nodes import (
    assignments,
    defaults,
    last_name,
    mentions,
    parts,
    position,
    shown,
    statement_around,
    walk,
)
from tests.mutants.places.python_spot import PythonSpot

__all__ = ["PythonPlace", "function", "variable"]

_OPERATORS: dict[str, type[ast.AST]] = {
    "==": ast.Eq,
    "!=": ast.NotEq,
    "<": ast.Lt,
    "<=": ast.LtE,
    ">": ast.Gt,
    ">=": ast.GtE,
    "is": ast.Is,
    "is not": ast.IsNot,
    "in": ast.In,
    "not in": ast.NotIn,
    "and": ast.And,
    "or": ast.Or,
}

_Nodes = Callable[[ast.AST, Sequence[ast.AST]], list[ast.AST]]
"""From a node and its ancestors, the outermost first, to the nodes meant, in source order."""


def function(name: str, *, module: str | None = None) -> PythonPlace:
    """Name a function: ``Class.method``, or ``outer.inner`` for one inside another.

    Args:
        name: Qualified within its module.
        module: The end of its module's dotted name, where several modules have the same name.
    """
    return PythonPlace(name, module, (ast.FunctionDef, ast.AsyncFunctionDef))


def variable(name: str, *, module: str | None = None) -> PythonPlace:
    """Name a variable of a module, or ``Class.attribute``: its assignment."""
    return PythonPlace(name, module, (ast.Assign, ast.AnnAssign))


@dataclass(frozen=True, slots=True)
class _Step:
    what: str
    nodes: _Nodes
    nth: int | None
    mentioning: str | None

    def take(self, node: ast.AST, ancestors: Sequence[ast.AST]) -> ast.AST:
        found = sorted(self.nodes(node, ancestors), key=position)
        what = self.what
        if self.mentioning is not None:
            what += f" that mentions {self.mentioning!r}"
            mentioning = [each for each in found if mentions(each, self.mentioning)]
            if not mentioning:  # the message shows those that do not
                raise DoesNotApplyError(f"no {what} among:{''.join(map(shown, found))}")
            found = mentioning
        return the_one(what, found, self.nth, lambda each: shown(each).strip())


@dataclass(frozen=True, slots=True)
class PythonPlace:
    """A definition and the way from it to a node.

    Each method takes one step down. It means the only such node below, unless *nth* (0 is the
    first in the text) or a name that it has to mention tells several apart.
    """

    name: str
    module: str | None
    kinds: tuple[type[ast.AST], ...]
    steps: tuple[_Step, ...] = ()

    def call(
        self, name: str, nth: int | None = None, *, mentioning: str | None = None
    ) -> PythonPlace:
        """Step to a call of *name*, whatever it is called on."""
        return self._below(
            f"call of {name}",
            lambda node: isinstance(node, ast.Call) and last_name(node.func) == name,
            nth,
            mentioning,
        )

    def condition(self, nth: int | None = None, *, mentioning: str | None = None) -> PythonPlace:
        """Step to what an ``if``, ``elif``, ``while`` or conditional expression asks."""
        kinds = (ast.If, ast.While, ast.IfExp)
        return self._below_in("condition", kinds, "test", nth, mentioning)

    def comparison(
        self,
        operator: str | None = None,
        nth: int | None = None,
        *,
        mentioning: str | None = None,
    ) -> PythonPlace:
        """Step to a comparison, by *operator* or by any."""
        return self._below(
            f"comparison by {operator or 'any operator'}",
            lambda node: (
                isinstance(node, ast.Compare)
                and (operator is None or isinstance(node.ops[0], _OPERATORS[operator]))
            ),
            nth,
            mentioning,
        )

    def boolean(
        self,
        operator: str | None = None,
        nth: int | None = None,
        *,
        mentioning: str | None = None,
    ) -> PythonPlace:
        """Step to an ``and`` or ``or`` with all its operands."""
        return self._below(
            f"{operator or 'and/or'} expression",
            lambda node: (
                isinstance(node, ast.BoolOp)
                and (operator is None or isinstance(node.op, _OPERATORS[operator]))
            ),
            nth,
            mentioning,
        )

    def part(self, nth: int | None = None, *, mentioning: str | None = None) -> PythonPlace:
        """Step to an operand, an element or a positional argument of this very node."""
        return self._step("part", lambda node, _: parts(node), nth, mentioning)

    def keyword(self, name: str, nth: int | None = None) -> PythonPlace:
        """Step to the value that a call passes for *name*."""
        return self._step(
            f"keyword argument {name}",
            lambda node, _: [
                below.value
                for below in walk(node)
                if isinstance(below, ast.keyword) and below.arg == name
            ],
            nth,
            None,
        )

    def assigned(
        self, name: str, nth: int | None = None, *, mentioning: str | None = None
    ) -> PythonPlace:
        """Step to the value that is assigned to *name*, a variable or an attribute."""
        return self._step(
            f"value assigned to {name}",
            lambda node, _: [
                below.value for below in assignments(node, name) if below.value is not None
            ],
            nth,
            mentioning,
        )

    def assignment(
        self, name: str, nth: int | None = None, *, mentioning: str | None = None
    ) -> PythonPlace:
        """Step to the statement that assigns, adds or subtracts to *name*."""
        return self._step(
            f"assignment to {name}",
            lambda node, _: list(assignments(node, name)),
            nth,
            mentioning,
        )

    def returned(self, nth: int | None = None, *, mentioning: str | None = None) -> PythonPlace:
        """Step to a value that is returned."""
        return self._below_in("returned value", (ast.Return,), "value", nth, mentioning)

    def raised(self, nth: int | None = None, *, mentioning: str | None = None) -> PythonPlace:
        """Step to an exception that is raised."""
        return self._below_in("raised exception", (ast.Raise,), "exc", nth, mentioning)

    def caught(self, nth: int | None = None, *, mentioning: str | None = None) -> PythonPlace:
        """Step to the exceptions that an ``except`` names."""
        return self._below_in("except clause", (ast.ExceptHandler,), "type", nth, mentioning)

    def iterated(self, nth: int | None = None, *, mentioning: str | None = None) -> PythonPlace:
        """Step to what a ``for`` runs over, also that of a comprehension."""
        kinds = (ast.For, ast.comprehension)
        return self._below_in("for loop", kinds, "iter", nth, mentioning)

    def pattern(self, nth: int | None = None, *, mentioning: str | None = None) -> PythonPlace:
        """Step to the pattern of a ``case``."""
        return self._below_in("case", (ast.match_case,), "pattern", nth, mentioning)

    def produced(self, nth: int | None = None, *, mentioning: str | None = None) -> PythonPlace:
        """Step to the element that a comprehension or generator makes of each item."""
        kinds = (ast.GeneratorExp, ast.ListComp, ast.SetComp)
        return self._below_in("comprehension", kinds, "elt", nth, mentioning)

    def reference(self, name: str, nth: int | None = None) -> PythonPlace:
        """Step to a use of *name*: a variable, or an attribute with what it belongs to."""
        return self._below(
            f"use of {name}",
            lambda node: isinstance(node, ast.Name | ast.Attribute) and last_name(node) == name,
            nth,
            None,
        )

    def literal(self, value: bool | float | str | None, nth: int | None = None) -> PythonPlace:
        """Step to a constant in the text."""
        return self._below(
            f"literal {value!r}",
            lambda node: (
                isinstance(node, ast.Constant)
                and type(node.value) is type(value)
                and node.value == value
            ),
            nth,
            None,
        )

    def entry(self, key: str) -> PythonPlace:
        """Step to the value of *key* in a dict."""
        return self._step(
            f"entry {key!r}",
            lambda node, _: [
                value
                for below in walk(node)
                if isinstance(below, ast.Dict)
                for name, value in zip(below.keys, below.values, strict=True)
                if isinstance(name, ast.Constant) and name.value == key
            ],
            None,
            None,
        )

    def default(self, parameter: str) -> PythonPlace:
        """Step to the default value of a parameter."""
        return self._step(
            f"default of {parameter}",
            lambda node, _: defaults(node, parameter),
            None,
            None,
        )

    def decorator(self, name: str) -> PythonPlace:
        """Step to a decorator of the function."""
        return self._step(
            f"decorator {name}",
            lambda node, _: [
                each
                for each in getattr(node, "decorator_list", [])
                if last_name(each.func if isinstance(each, ast.Call) else each) == name
            ],
            None,
            None,
        )

    def statement(self) -> PythonPlace:
        """Step up to the statement around: of a condition, the whole ``if`` or loop."""
        return self._step("statement around", statement_around, None, None)

    def find(self, product: Product) -> PythonSpot:
        """Return the node in *product*; see `Place.find`.

        If several modules define the name, the one is meant in which all steps lead somewhere.
        """
        spots: list[PythonSpot] = []
        errors: list[DoesNotApplyError] = []
        for definition in self._definitions(product):
            try:
                spots.append(self._find_in(definition, product))
            except DoesNotApplyError as error:
                errors.append(error)
        if not spots:
            raise DoesNotApplyError("\n".join(map(str, errors)))
        return the_one(f"definition of {self.name}", spots, None, lambda e: str(e.definition))

    def _find_in(self, definition: Definition, product: Product) -> PythonSpot:
        node = definition.node
        for number, step in enumerate(self.steps, start=1):
            try:
                node = step.take(node, product.way_to(definition.file, node)[:-1])
            except DoesNotApplyError as error:
                way = " > ".join([self.name, *(each.what for each in self.steps[:number])])
                raise DoesNotApplyError(f"{way}: {error} ({definition.file})") from error
        return PythonSpot(product, definition, product.way_to(definition.file, node))

    def _definitions(self, product: Product) -> list[Definition]:
        known = [each for each in product.definitions if isinstance(each.node, self.kinds)]
        found = [
            each
            for each in known
            if each.name == self.name
            and (self.module is None or f".{each.module}".endswith(f".{self.module}"))
        ]
        if not found:
            where = f" in a module {self.module}" if self.module else ""
            near = "".join(f"\n  {each}" for each in _near(self.name, known))
            raise DoesNotApplyError(f"no {self.name}{where}; near it are:{near or ' none'}")
        return found

    def _below(
        self,
        what: str,
        fits: Callable[[ast.AST], bool],
        nth: int | None,
        mentioning: str | None,
    ) -> PythonPlace:
        return self._step(
            what, lambda node, _: [each for each in walk(node) if fits(each)], nth, mentioning
        )

    def _below_in(
        self,
        what: str,
        kinds: tuple[type[ast.AST], ...],
        field: str,
        nth: int | None,
        mentioning: str | None,
    ) -> PythonPlace:
        """Step to the *field* of a node of one of *kinds*."""
        return self._step(
            what,
            lambda node, _: [
                value
                for below in walk(node)
                if isinstance(below, kinds) and isinstance(value := getattr(below, field), ast.AST)
            ],
            nth,
            mentioning,
        )

    def _step(
        self, what: str, nodes: _Nodes, nth: int | None, mentioning: str | None
    ) -> PythonPlace:
        return replace(self, steps=(*self.steps, _Step(what, nodes, nth, mentioning)))


def _near(name: str, known: Sequence[Definition]) -> list[Definition]:
    """Return what *name* may be called now: the same name elsewhere, siblings, similar names."""
    owner, _, last = name.rpartition(".")

    def nearness(other: Definition) -> float:
        other_owner, _, other_last = other.name.rpartition(".")
        if other_last == last:
            return 2.0
        if owner and other_owner == owner:
            return 1.0 + SequenceMatcher(None, last, other_last).ratio()
        return SequenceMatcher(None, name, other.name).ratio()

    near = sorted((each for each in known if nearness(each) > 0.7), key=nearness, reverse=True)
    return near[:12]
