"""Progress line of the suite: what is running and how long the rest will take."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence

from benchmarks.measuring.workload import Scale
from benchmarks.workloads.registry import Group

__all__ = ["Progress"]


class Progress:
    """A line on the terminal that is overwritten; silent if stderr is not a terminal."""

    def __init__(self, groups: Sequence[Group], scale: Scale) -> None:
        self._seconds = {group.name: group.seconds(scale) for group in groups}
        self._group = ""
        self._group_began = 0.0
        self._width = 0

    def begin(self, group: Group) -> None:
        self._group, self._group_began = group.name, time.monotonic()

    def show(self, what: str) -> None:
        """Show *what* is running."""
        if sys.stderr.isatty():
            line = f"{self._group}: {what}, about {_minutes(self._left())} left"
            line = line[: shutil.get_terminal_size().columns - 1]
            sys.stderr.write("\r" + line.ljust(self._width))
            sys.stderr.flush()
            self._width = len(line)

    def clear(self) -> None:
        """Remove the line before other output."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0

    def end(self) -> float:
        """End the present group; return how many seconds it took."""
        self.clear()
        del self._seconds[self._group]
        return time.monotonic() - self._group_began

    def summary(self) -> str:
        """Return the expected duration as text."""
        return f"about {_minutes(self._left())}"

    def _left(self) -> float:
        to_come = sum(self._seconds.values())
        if self._group in self._seconds:
            to_come -= min(self._seconds[self._group], time.monotonic() - self._group_began)
        return to_come


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
