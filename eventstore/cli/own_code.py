"""The application's own code, as an argument names it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from eventstore.cli.failures import RefusedError, UsageError

__all__ = ["loaded"]


def loaded(place: str, kind: type) -> Any:
    """Return the *kind* of object that ``MODULE:ATTRIBUTE`` names.

    Modules are also looked for in the present folder, as by ``python -m``.

    Raises:
        UsageError: There is no such module, or no such object in it.
        RefusedError: The module cannot be imported.
    """
    module_name, _, attributes = place.partition(":")
    if not (module_name and attributes):
        raise UsageError(f"must be MODULE:ATTRIBUTE: {place!r}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    found = _imported(module_name)
    for name in attributes.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise UsageError(f"module {module_name!r} has no {attributes!r}") from None
    if not isinstance(found, kind):
        raise UsageError(f"{place} must be a {kind.__name__}, and is a {type(found).__name__}")
    return found


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            raise UsageError(f"there is no module {name!r} in this folder or installed") from None
        raise RefusedError(f"importing {name!r} failed: {type(error).__name__}: {error}") from error
