"""Tell functions that do their work when they are called from those that only promise it. Pure."""

from __future__ import annotations

import functools
import inspect
from contextlib import suppress
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from eventstore.model.checks import shown

__all__ = [
    "check_plain_function",
    "is_coroutine_function",
    "is_promise",
    "why_it_never_runs",
    "withdraw",
]


def check_plain_function(argument: str, value: Any) -> Any:
    """Return *value* if it can be called and does its work then."""
    if not callable(value):
        raise TypeError(f"{argument} must be callable: {shown(value)}")
    if (why := why_it_never_runs(value)) is not None:
        raise TypeError(f"{argument} cannot be {shown(value)}: {why}")
    return value


def why_it_never_runs(function: Any) -> str | None:
    """Return why calling *function* would do nothing; None if it does its work."""
    for called in _called_by(function):
        if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
            return "a coroutine function would never run; pass a plain function"
        if inspect.isgeneratorfunction(called):
            return "a generator function would never run; pass a plain function"
    return None


def is_coroutine_function(function: Any) -> bool:
    """Tell whether a call of *function* returns a coroutine."""
    return any(inspect.iscoroutinefunction(called) for called in _called_by(function))


def is_promise(value: Any) -> bool:
    """Tell whether *value* is work that nobody has done: a coroutine, a generator, a task."""
    kind = type(value)
    return kind in _UNFINISHED or hasattr(kind, "__await__")


def withdraw(value: Any) -> None:
    """Close a coroutine or generator, which else would warn that it never ran."""
    with suppress(BaseException):
        if type(value) in {CoroutineType, GeneratorType}:
            value.close()


_UNFINISHED = frozenset({CoroutineType, GeneratorType, AsyncGeneratorType})


def _called_by(function: Any) -> list[Any]:
    """Return what a call of *function* may run: itself, or its ``__call__``, behind partials."""
    while isinstance(function, functools.partial):
        function = function.func
    return [function, getattr(type(function), "__call__", None)]  # noqa: B004 - wanted itself
