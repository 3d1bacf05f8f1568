"""Find the runtime that is installed, without importing it by name."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import cast

from eventstore.model.errors import NotRunningError
from eventstore.ports.runtime import Runtime

__all__ = ["registered_runtime"]

_GROUP = "eventstore.runtimes"


def registered_runtime(name: str = "actors") -> type[Runtime]:
    """Return the runtime class that is registered as *name*.

    Raises:
        NotRunningError: None is.
    """
    for entry in entry_points(group=_GROUP, name=name):
        return cast(type[Runtime], entry.load())
    raise NotRunningError(
        f"no runtime {name!r} is registered in the entry points {_GROUP!r}: install the project,"
        " or pass runtime=CallerRuntime to append and read only"
    )
