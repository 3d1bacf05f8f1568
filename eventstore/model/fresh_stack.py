"""Run a recursive function on an empty stack, where the caller's has too little room left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["on_fresh_stack"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def on_fresh_stack(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return ``work(*args, **kwargs)``, computed in a thread of its own; raise what it raises."""
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="eventstore-deep")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
