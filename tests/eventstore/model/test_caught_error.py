"""An exception of user code, described where it was caught."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from eventstore.model.caught_error import MOST_TRACEBACK, CaughtError
from tests.support.hostile import HostileError, hostile_texts

NOW = threading.Event()
NOW.set()


def caught(error: BaseException) -> CaughtError:
    try:
        raise error  # noqa: TRY301 - in the place of user code
    except BaseException as raised:  # noqa: BLE001 - as the library does
        return CaughtError.of(raised)


def test_it_says_what_python_says() -> None:
    """F24, G30."""
    error = ValueError("no stock")
    error.add_note("of item 7")

    found = caught(error)

    assert found.error is error
    assert found.text == "ValueError('no stock')"
    lines = found.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "raise error" in found.traceback
    assert lines[-2:] == ["ValueError: no stock", "of item 7"]


def test_causes_are_told_the_oldest_first() -> None:
    def fail() -> None:
        try:
            raise KeyError("first")  # noqa: TRY301 - so that it is the context
        except KeyError as first:
            raise ValueError("second") from first

    def fail_again() -> None:
        try:
            fail()
        except ValueError:
            raise TypeError("third")  # noqa: B904 - so that it has a context and no cause

    with pytest.raises(TypeError) as raised:
        fail_again()

    told = [
        line
        for line in CaughtError.of(raised.value).traceback.splitlines()
        if line and not line.startswith(("Traceback", " "))
    ]
    assert told == [
        "KeyError: 'first'",
        "The above exception was the direct cause of the following exception:",
        "ValueError: second",
        "During handling of the above exception, another exception occurred:",
        "TypeError: third",
    ]


class Endless(Exception):  # noqa: N818 - not an error of the store
    """Each has a cause that nobody has seen before."""

    def __getattribute__(self, name: str) -> Any:
        return Endless() if name == "__cause__" else super().__getattribute__(name)


def in_a_cycle() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def with_notes() -> BaseException:
    error = ValueError("noted")
    for _ in range(10_000):
        error.add_note("y" * 10_000)
    return error


def with_a_bad_note() -> BaseException:
    error = ValueError("noted")
    error.__dict__["__notes__"] = [HostileError(hostile_texts(NOW)["raises"])]
    return error


def with_text(text: Callable[[], Any]) -> Callable[[], BaseException]:
    return lambda: HostileError(text)


def deep(levels: int = 900) -> None:
    if not levels:
        raise ValueError("deep")
    deep(levels - 1)


def from_deep() -> BaseException:
    with pytest.raises(ValueError, match="deep") as raised:
        deep()
    return raised.value


HOSTILE: dict[str, Callable[[], BaseException]] = {
    "a cycle of causes": in_a_cycle,
    "causes without end": Endless,
    "too many notes": with_notes,
    "a note that is no text": with_a_bad_note,
    "a large group": lambda: ExceptionGroup("many", [ValueError("z" * 100_000)] * 10_000),
    "a deep stack": from_deep,
    **{f"a text that {wrong}": with_text(text) for wrong, text in hostile_texts(NOW).items()},
}


@pytest.mark.parametrize("wrong", HOSTILE)
def test_whatever_it_is_its_texts_are_short_and_plain(wrong: str) -> None:
    """F18, F19, G30."""
    found = caught(HOSTILE[wrong]())

    for text in (found.text, found.traceback):
        assert type(text) is str
        assert "\x00" not in text
        assert text.encode()
    assert 0 < len(found.text) <= 2_001
    assert 0 < len(found.traceback) <= MOST_TRACEBACK + 1


def test_its_own_repr_touches_nothing_of_the_users() -> None:
    """F18: whatever is logged or shown of a message that carries it."""
    assert "error=" not in repr(caught(HostileError(hostile_texts(NOW)["raises"])))
