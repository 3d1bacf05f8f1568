"""Places in the schema: a function, table or trigger by its name, and a part of it by keywords."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.mutants.places.place import DoesNotApplyError, the_one
from tests.mutants.places.product import Product
from tests.mutants.places.sql_spot import SqlSpot
from tests.mutants.places.sql_text import SqlPart, objects, words_of

__all__ = ["SqlPlace", "sql_function", "sql_table", "sql_trigger"]

_AFTER_WHERE = {"returning", "group", "order", "for", "limit", "union", "on", "window", "having"}
_AFTER_ASSIGNED = {"from", "where", "returning", "as"}


def sql_function(name: str) -> SqlPlace:
    """Name a function of the schema: its head and its body."""
    return SqlPlace("FUNCTION", name)


def sql_table(name: str) -> SqlPlace:
    """Name a table and what is declared in it."""
    return SqlPlace("TABLE", name)


def sql_trigger(name: str, *, on: str) -> SqlPlace:
    """Name the trigger *name* of a table."""
    return SqlPlace("TRIGGER", name, on)


_Parts = Callable[[SqlPart], Iterator[SqlPart]]


@dataclass(frozen=True, slots=True)
class _Step:
    what: str
    parts: _Parts
    nth: int | None
    mentioning: str | None

    def take(self, part: SqlPart) -> SqlPart:
        found = list(self.parts(part))
        what = self.what
        if self.mentioning is not None:
            what += f" that mentions {self.mentioning!r}"
            words = words_of(self.mentioning)
            mentioning = [
                each
                for each in found
                if any(each.is_at(place, words) for place in range(len(each.tokens)))
            ]
            if not mentioning:  # the message shows those that do not
                shown = "".join(f"\n  {each.shown}" for each in found)
                raise DoesNotApplyError(f"no {what} among:{shown or ' none'}")
            found = mentioning
        return the_one(what, found, self.nth, lambda each: each.shown)


@dataclass(frozen=True, slots=True)
class SqlPlace:
    """An object of the schema and the way from it to a part.

    Each method takes one step down. It means the only such part, unless *nth* (0 is the first in
    the text) or words that it has to mention tell several apart.
    """

    kind: str
    name: str
    table: str | None = None
    steps: tuple[_Step, ...] = ()

    def statement(
        self, beginning: str, nth: int | None = None, *, mentioning: str | None = None
    ) -> SqlPlace:
        """Step to the statement of a body that begins with these words, without its semicolon."""
        words = words_of(beginning)

        def parts(part: SqlPart) -> Iterator[SqlPart]:
            for place in range(len(part.tokens)):
                if part.begins_statement(place) and part.is_at(place, words):
                    yield part.sub(place, part.until(place, ";"), "NULL")

        return self._step(f"statement {beginning}", parts, nth, mentioning)

    def condition(self, nth: int | None = None, *, mentioning: str | None = None) -> SqlPlace:
        """Step to what an ``IF`` or ``ELSIF`` asks."""

        def parts(part: SqlPart) -> Iterator[SqlPart]:
            for place, word in enumerate(part.words):
                is_if = word == "if" and part.begins_statement(place)
                if is_if or word in {"elsif", "elseif"}:
                    yield part.sub(place + 1, part.until(place + 1, {"then"}), "true")

        return self._step("condition", parts, nth, mentioning)

    def when(self, nth: int | None = None, *, mentioning: str | None = None) -> SqlPlace:
        """Step to what a ``WHEN`` of a ``CASE`` asks."""

        def parts(part: SqlPart) -> Iterator[SqlPart]:
            for place, word in enumerate(part.words):
                if word == "when" and not part.is_at(place - 1, ["exit"]):
                    yield part.sub(place + 1, part.until(place + 1, {"then"}), "true")

        return self._step("WHEN", parts, nth, mentioning)

    def where(self, nth: int | None = None, *, mentioning: str | None = None) -> SqlPlace:
        """Step to the condition of a ``WHERE``."""

        def parts(part: SqlPart) -> Iterator[SqlPart]:
            for place, word in enumerate(part.words):
                if word == "where":
                    end = part.until(place + 1, _AFTER_WHERE)
                    yield part.sub(place + 1, end, "true")

        return self._step("WHERE", parts, nth, mentioning)

    def conjunct(self, nth: int | None = None, *, mentioning: str | None = None) -> SqlPlace:
        """Step to an operand of the ``AND`` of this very part; removed, it is true."""
        return self._step("conjunct", lambda p: iter(p.split("and", "true")), nth, mentioning)

    def alternative(self, nth: int | None = None, *, mentioning: str | None = None) -> SqlPlace:
        """Step to an operand of the ``OR`` of this very part; removed, it is false."""
        return self._step("alternative", lambda p: iter(p.split("or", "false")), nth, mentioning)

    def assigned(
        self, name: str, nth: int | None = None, *, mentioning: str | None = None
    ) -> SqlPlace:
        """Step to the value that a column or a variable gets: ``SET name = …``, ``name := …``."""

        def parts(part: SqlPart) -> Iterator[SqlPart]:
            for place, word in enumerate(part.words):
                if word != name:
                    continue
                if part.is_at(place + 1, ["="]) and part.words[place - 1] in {"set", ","}:
                    end = part.until(place + 2, {",", *_AFTER_ASSIGNED})
                    yield part.sub(place + 2, end)
                elif part.begins_statement(place):
                    start = part.until(place, {":=", ";"})
                    if part.is_at(start, [":="]):
                        yield part.sub(start + 1, part.until(start + 1, ";"))

        return self._step(f"value assigned to {name}", parts, nth, mentioning)

    def set_clause(self, nth: int | None = None) -> SqlPlace:
        """Step to all that an ``UPDATE`` assigns."""

        def parts(part: SqlPart) -> Iterator[SqlPart]:
            for place, word in enumerate(part.words):
                if word == "set":
                    yield part.sub(place + 1, part.until(place + 1, _AFTER_ASSIGNED))

        return self._step("SET clause", parts, nth, None)

    def column(self, name: str, nth: int | None = None) -> SqlPlace:
        """Step to the expression that a ``SELECT`` calls *name*."""

        def parts(part: SqlPart) -> Iterator[SqlPart]:
            for place in range(len(part.tokens)):
                if part.is_at(place, ["as", name]):
                    depth = part.tokens[place].depth
                    start = place
                    while (part.words[start - 1], part.tokens[start - 1].depth) not in {
                        (",", depth),
                        ("select", depth),
                    }:
                        start -= 1
                    yield part.sub(start, place)

        return self._step(f"column {name}", parts, nth, None)

    def call(self, name: str, nth: int | None = None, *, mentioning: str | None = None) -> SqlPlace:
        """Step to a call of a function."""

        def parts(part: SqlPart) -> Iterator[SqlPart]:
            for place in range(len(part.tokens)):
                if part.is_at(place, [name, "("]):
                    yield part.sub(place, part.until(place + 1, ")") + 1)

        return self._step(f"call of {name}", parts, nth, mentioning)

    def argument(self, nth: int | None = None, *, mentioning: str | None = None) -> SqlPlace:
        """Step to an argument of this very call."""
        return self._step(
            "argument",
            lambda part: iter(part.sub(part.words.index("(") + 1, -1).split(",")),
            nth,
            mentioning,
        )

    def setting(self, name: str) -> SqlPlace:
        """Step to the value that a function's head sets *name* to."""

        def parts(part: SqlPart) -> Iterator[SqlPart]:
            for place in range(len(part.tokens)):
                if part.is_at(place, ["set", name, "="]):
                    end = part.until(place + 3, {"set", "as", "language", "returns"})
                    yield part.sub(place + 3, end)

        return self._step(f"setting {name}", parts, None, None)

    def constraint(self, name: str) -> SqlPlace:
        """Step to the declaration of a constraint of a table."""

        def parts(part: SqlPart) -> Iterator[SqlPart]:
            for place in range(len(part.tokens)):
                if part.is_at(place, ["constraint", name]):
                    yield part.sub(place, part.until(place + 1, {",", "constraint"}))

        return self._step(f"constraint {name}", parts, None, None)

    def phrase(
        self, words: str, nth: int | None = None, *, mentioning: str | None = None
    ) -> SqlPlace:
        """Step to these very words, where nothing above names them."""
        wanted = words_of(words)

        def parts(part: SqlPart) -> Iterator[SqlPart]:
            for place in range(len(part.tokens)):
                if part.is_at(place, wanted):
                    yield part.sub(place, place + len(wanted))

        return self._step(words, parts, nth, mentioning)

    def find(self, product: Product) -> SqlSpot:
        """Return the part in *product*; see `Place.find`."""
        part = self._object(product)
        for number, step in enumerate(self.steps, start=1):
            try:
                part = step.take(part)
            except DoesNotApplyError as error:
                way = " > ".join([self._label, *(each.what for each in self.steps[:number])])
                raise DoesNotApplyError(f"{way}: {error} ({part.file})") from error
        if not part.tokens:
            raise DoesNotApplyError(f"{self._label}: nothing is there")
        return SqlSpot(part)

    @property
    def _label(self) -> str:
        on = f" on {self.table}" if self.table else ""
        return f"{self.kind} {self.name}{on}"

    def _object(self, product: Product) -> SqlPart:
        known = [
            each
            for file, source in product.files.items()
            if file.suffix == ".sql"
            for each in objects(file, source)
        ]
        found = [
            each.part
            for each in known
            if each.kind == self.kind and each.name == self.name and each.table == self.table
        ]
        if not found:
            labels = {
                f"{each.kind} {each.name}" + (f" on {each.table}" if each.table else "")
                for each in known
            }
            near = difflib.get_close_matches(self._label, labels, 10, 0.6)
            raise DoesNotApplyError(f"no {self._label}; near it are: {', '.join(near) or 'none'}")
        return the_one(self._label, found, None, lambda each: each.shown)

    def _step(self, what: str, parts: _Parts, nth: int | None, mentioning: str | None) -> SqlPlace:
        return replace(self, steps=(*self.steps, _Step(what, parts, nth, mentioning)))
