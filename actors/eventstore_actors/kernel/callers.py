"""Who calls: a thread that runs an actor must not wait for what only that actor can do."""

from __future__ import annotations

import sys
from types import FrameType

import pykka

__all__ = ["current_actor"]


def current_actor() -> pykka.Actor | None:
    """Return the actor whose method this thread runs, at whatever depth; None: no actor's."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - documented, only not portable
    found: pykka.Actor | None = None
    while frame is not None:
        names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
        owner = frame.f_locals.get(names[0]) if names else None
        if isinstance(owner, pykka.Actor):
            # The outermost one runs the thread; what it calls may be methods of others.
            found = owner
        frame = frame.f_back
    return found
