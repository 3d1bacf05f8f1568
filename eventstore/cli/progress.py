"""How far a long command is, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eventstore.cli.import_file import Lines

__all__ = ["progress"]

Advance = Callable[[int], None]
"""Told after every commit how many lines are done."""


@contextmanager
def progress(source: Lines) -> Iterator[Advance]:
    """Show a bar on the standard error if it is a terminal and rich is installed."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        yield _nothing
        return
    columns = (
        TextColumn("importing"),
        BarColumn(),
        TextColumn("{task.fields[lines]:,} lines"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("importing", total=source.size, lines=0)

        def advance(lines: int) -> None:
            completed = 0 if source.size is None else source.place
            bar.update(task, completed=completed, lines=lines)

        yield advance


def _nothing(_lines: int) -> None:
    return
