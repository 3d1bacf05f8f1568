"""A part of the schema that was found, and the edits that put new text in its place."""

from __future__ import annotations

from dataclasses import dataclass

from tests.mutants.places.place import DoesNotApplyError, Edit, Spot
from tests.mutants.places.sql_text import SqlPart, raw_words, words_of

__all__ = ["SqlSpot"]

_CONSTANTS = {"true", "false", "null"}


@dataclass(frozen=True)
class SqlSpot(Spot):
    """A part, with the file around it."""

    part: SqlPart

    @property
    def text(self) -> str:
        return self.part.text

    def replaced(self, text: str) -> Edit:
        """Put *text* there, whose lower-case words have to be words of the schema."""
        known = set(words_of(self.part.source))
        words = {word for word in raw_words(text) if word.islower()}
        if unknown := sorted(words - known - _CONSTANTS):
            raise DoesNotApplyError(f"{text!r} uses words that the schema does not: {unknown}")
        return self._edit(text)

    def removed(self) -> Edit:
        return self._edit(self.part.gone)

    def negated(self) -> Edit:
        return self._edit(f"NOT ({self.text})")

    def literal(self, value: bool | float | str | None) -> Edit:
        match value:
            case None:
                return self._edit("NULL")
            case bool():
                return self._edit(str(value).lower())
            case str():
                quoted = value.replace("'", "''")
                return self._edit(f"'{quoted}'")
            case _:
                return self._edit(str(value))

    def surrounded(self, *, before: str = "", after: str = "") -> Edit:
        statements = [each for each in (before, self.text, after) if each]
        return self.replaced("; ".join(statements))

    def _edit(self, text: str) -> Edit:
        tokens = self.part.tokens
        return Edit(self.part.file, self.part.source, tokens[0].start, tokens[-1].end, text)
