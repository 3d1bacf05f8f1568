"""SQL as tokens: parts of a file, and the objects that its statements create.

Text is compared token by token: white space, comments and case do not matter.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

__all__ = ["SqlObject", "SqlPart", "objects", "raw_words", "words_of"]

_TOKEN = re.compile(
    r"""
    (?P<space> \s+ | --[^\n]* )
  | (?P<token> '(?:[^']|'')*'              # a text
             | :?"[^"]*"                   # a quoted name, or a variable of psql as one
             | \$\w*\$                     # where a body begins and ends
             | [\#\w]+
             | <> | <= | >= | := | :: | \|\| | && | => | \.\.
             | . )
    """,
    re.VERBOSE,
)
_BODY = re.compile(r"\$\w*\$")

# A statement of a body begins after one of these.
_BEGINNINGS = {";", "begin", "then", "else", "loop"}


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    """In lower case, unless it is quoted."""
    start: int
    end: int
    depth: int
    """In how many parentheses it stands."""


@dataclass(frozen=True)
class SqlPart:
    """Some consecutive tokens of one file."""

    file: Path
    source: str
    tokens: tuple[_Token, ...]
    gone: str = ""
    """What stands in its place when it is removed."""

    def sub(self, start: int, end: int, gone: str = "") -> SqlPart:
        return SqlPart(self.file, self.source, self.tokens[start:end], gone)

    @cached_property
    def words(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.tokens)

    @property
    def text(self) -> str:
        return self.source[self.tokens[0].start : self.tokens[-1].end]

    @property
    def shown(self) -> str:
        line = self.source.count("\n", 0, self.tokens[0].start) + 1
        return f"line {line}: {textwrap.shorten(self.text, 100)}"

    def is_at(self, start: int, words: Sequence[str]) -> bool:
        return self.words[start : start + len(words)] == tuple(words)

    def until(self, start: int, ends: Container[str]) -> int:
        """Return where what begins at *start* ends: before a word of *ends* on its own level."""
        depth = self.tokens[start].depth
        for place in range(start, len(self.tokens)):
            token = self.tokens[place]
            if token.depth < depth or (token.depth == depth and token.text in ends):
                return place
        return len(self.tokens)

    def begins_statement(self, place: int) -> bool:
        if place == 0:
            return False
        before = self.words[place - 1]
        return before in _BEGINNINGS or before == "declare" or _BODY.fullmatch(before) is not None

    def _is_in_parentheses(self) -> bool:
        depth = self.tokens[0].depth
        inner = self.tokens[1:-1]
        return self.words[0] == "(" and bool(inner) and all(each.depth > depth for each in inner)

    def split(self, word: str, gone: str = "") -> list[SqlPart]:
        """Return what is between the *word* tokens on the outermost level.

        Parentheses around the whole part are no level of their own.
        """
        if self._is_in_parentheses():
            return self.sub(1, len(self.tokens) - 1).split(word, gone)
        depth = min(token.depth for token in self.tokens)
        cuts, between = [-1], False
        for place, token in enumerate(self.tokens):
            if token.depth != depth:
                continue
            if token.text == word and not between:
                cuts.append(place)
            between = token.text == "between" or (between and token.text != "and")
        cuts.append(len(self.tokens))
        return [self.sub(a + 1, b, gone) for a, b in pairwise(cuts) if b > a + 1]


@dataclass(frozen=True, slots=True)
class SqlObject:
    kind: str
    name: str
    table: str | None
    part: SqlPart


@lru_cache
def objects(file: Path, source: str) -> tuple[SqlObject, ...]:
    whole = SqlPart(file, source, _tokens(source))
    return tuple(SqlObject(*_named(part), part) for part in _statements(whole) if _named(part)[0])


def _statements(whole: SqlPart) -> Iterator[SqlPart]:
    """Return the statements of the file: a semicolon within a body ends none."""
    start, in_body = 0, False
    for place, word in enumerate(whole.words):
        if _BODY.fullmatch(word):
            in_body = not in_body
        if word == ";" and not in_body:
            yield whole.sub(start, place)
            start = place + 1


def _named(part: SqlPart) -> tuple[str, str, str | None]:
    """Return the kind of what *part* creates, its name, and the table that it is on."""
    words = [word for word in part.words if word not in {"or", "replace", "unique", "constraint"}]
    if words[:1] != ["create"]:
        return "", "", None
    kind, rest = words[1].upper(), words[2:]
    name, rest = _unqualified(rest)
    table = None
    if kind == "TRIGGER":
        table, _ = _unqualified(rest[rest.index("on") + 1 :])
    return kind, name, table


def _unqualified(words: list[str]) -> tuple[str, list[str]]:
    """Return a name without its schema, and what follows it."""
    place = 2 if words[1:2] == ["."] else 0
    return words[place], words[place + 1 :]


@lru_cache
def _tokens(text: str) -> tuple[_Token, ...]:
    tokens: list[_Token] = []
    opened: list[str] = []
    for match in _TOKEN.finditer(text):
        if match["space"] is not None:
            continue
        raw = match["token"]
        word = raw if raw[0] in "'\"" else raw.lower()
        if (word in {")", "]"} and opened) or (word == "end" and opened[-1:] == ["case"]):
            opened.pop()
        tokens.append(_Token(word, match.start(), match.end(), len(opened)))
        if word in {"(", "[", "case"}:
            opened.append(word)
    return tuple(tokens)


def words_of(text: str) -> list[str]:
    return [token.text for token in _tokens(text)]


def raw_words(text: str) -> set[str]:
    """Return the names and keywords of *text* as they are written."""
    return {
        token for match in _TOKEN.finditer(text) if (token := match["token"] or "").isidentifier()
    }
