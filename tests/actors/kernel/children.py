"""What a child does after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from tests.support.waiting import PATIENCE

__all__ = ["does", "in_child"]


def in_child(check: Callable[[], object]) -> None:
    """Fail unless *check* is true in a child of this process."""
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = bool(check())
        finally:
            os._exit(not right)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def does(run: Callable[[Callable[[], object]], object]) -> bool:
    """Return whether what is given to *run* is done."""
    done = threading.Event()
    run(done.set)
    return done.wait(PATIENCE)
