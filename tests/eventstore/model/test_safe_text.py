"""Text of foreign values is bounded and safe, whatever their own code does."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from eventstore.model.safe_text import message_of, name_of, text_of
from tests.support.hostile import HostileError, hostile_texts

NOW = threading.Event()
NOW.set()


class Unnamed(type):
    """A class of classes that do not tell their name."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class Hidden(metaclass=Unnamed):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Text(str):
    """Text whose own methods must not be called."""

    __slots__ = ()

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __getitem__(self, index: Any) -> str:
        raise RuntimeError("no slice")

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __format__(self, spec: str) -> str:
        raise RuntimeError("no format")


class Shown:
    def __init__(self, text: Any) -> None:
        self._text = text

    def __repr__(self) -> Any:
        return self._text


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "it's",
        b"x",
        [1, "a"],
        (1,),
        (),
        {"a": [1]},
        ValueError("no"),
        ValueError(),
        KeyError("a", 2),
        FileNotFoundError(2, "not here", "a.txt"),
        ExceptionGroup("several", [ValueError(1), TypeError("2")]),
        threading.Lock,
    ],
)
def test_what_is_short_is_shown_by_its_repr(value: object) -> None:
    assert text_of(value, 2_000) == repr(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 20_000_000, "'xxxx…"),
        (ValueError("x" * 20_000_000), "Value…"),
        ([["x"] * 3_000_000], "[['x'…"),
        ({n: n for n in range(1_000_000)}, "{0: 0…"),
        (ExceptionGroup("x", [ValueError()] * 100_000), "Excep…"),
        (Shown("y" * 20_000_000), "yyyyy…"),
    ],
    ids=["text", "error", "list", "dict", "group", "repr"],
)
def test_no_more_is_shown_than_asked_for(value: object, text: str) -> None:
    """F19, G30: nor made, where the value is of a type of Python itself."""
    assert text_of(value, 5) == text


@pytest.mark.parametrize("wrong", ["raises", "exits", "is no text"])
def test_an_error_without_a_repr_is_named(wrong: str) -> None:
    """F18, G30."""
    error = HostileError(hostile_texts(NOW)[wrong])

    assert text_of(error, 60) == "<HostileError without a repr>"
    assert text_of(ValueError(error, 1), 60) == "ValueError(<HostileError without a repr>, 1)"
    assert message_of(error) == "<HostileError without a repr>"


def test_a_class_without_a_name_is_named() -> None:
    """F18."""
    assert name_of(Hidden) == "Hidden"
    assert text_of(Hidden(), 60) == "<Hidden without a repr>"


def test_no_method_of_a_text_is_called() -> None:
    """F18: a repr may be of a class of its own."""
    assert type(text_of(Shown(Text("abc")), 2)) is str
    assert text_of(Shown(Text("abc")), 2) == "ab…"


def test_a_repr_is_on_one_line_and_can_be_stored_and_printed() -> None:
    """F18, G30: a message keeps its lines."""
    hostile = Shown("NUL \x00, surrogate \ud800,\nline, right to left \u202e")

    escaped = "NUL \\x00, surrogate \\ud800,\\nline, right to left \\u202e"
    assert text_of(hostile, 100) == escaped
    assert message_of(ValueError("one\ntwo\x1b[2J")) == "one\ntwo\\x1b[2J"


def test_a_value_that_holds_itself_ends() -> None:
    """F19."""
    endless: list[Any] = []
    endless += [endless, {"again": endless}, ValueError(endless)]

    assert len(text_of(endless, 2_000)) <= 2_001
    assert text_of(endless, 3) == "[[[…"
