"""Results of a run of the suite with machine and versions, stored as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Self

import msgspec

from benchmarks.measuring.measure import Figure
from benchmarks.measuring.workload import Better, Scale, Workload

__all__ = ["Conditions", "Result", "Results"]

_LIBRARIES = ("psycopg", "pykka", "msgspec")


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one workload."""

    group: str
    name: str
    unit: str
    better: Better
    panel: str
    label: str
    figures: Mapping[str, Figure]
    failed: Mapping[str, str]
    """Reasons by contender; a failed contender has no figure."""

    @classmethod
    def of(
        cls, workload: Workload, figures: Mapping[str, Figure], failed: Mapping[str, str]
    ) -> Self:
        return cls(
            workload.group,
            workload.name,
            workload.unit,
            workload.better,
            workload.panel or workload.group,
            workload.label or workload.name,
            figures,
            failed,
        )

    def ratio(self, contender: str, to: str) -> float | None:
        """Return the ratio of medians; more than 1 if *contender* is better than *to*."""
        if not {contender, to} <= self.figures.keys():
            return None
        better, other = self.figures[contender].median, self.figures[to].median
        above, below = (better, other) if self.better == "higher" else (other, better)
        return above / below if below else None


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions under which the figures were measured."""

    command: str
    date: str
    machine: str
    python: str
    libraries: Mapping[str, str]
    contenders: Mapping[str, str]
    """Version by name, or why it did not run."""
    server: Mapping[str, str]
    """Version and settings of PostgreSQL."""

    @classmethod
    def of(cls, scale: Scale, contenders: Mapping[str, str], server: Mapping[str, str]) -> Self:
        return cls(
            command="make bench" if scale.name == "full" else f"make bench {scale.name.upper()}=1",
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            machine=_machine(),
            python=platform.python_version(),
            libraries={name: version(name) for name in _LIBRARIES},
            contenders=contenders,
            server=server,
        )


@dataclass(slots=True)
class Results:
    """All results so far, in order."""

    conditions: Conditions
    seconds: dict[str, int] = field(default_factory=dict)
    """Duration of each group."""
    results: list[Result] = field(default_factory=list)

    @property
    def groups(self) -> list[str]:
        return list(dict.fromkeys(result.group for result in self.results))

    def of_group(self, group: str) -> list[Result]:
        return [result for result in self.results if result.group == group]

    def save(self, path: Path) -> None:
        """Write every value to *path*, one figure per line."""
        results = ",\n".join(map(_lines, self.results))
        path.write_text(
            f'{{"conditions": {_json(self.conditions, indent=1)},\n'
            f'"seconds": {_json(self.seconds)},\n'
            f'"results": [\n{results}\n]}}\n'
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


def _lines(result: Result) -> str:
    """Return *result* as JSON: a line for what it is, then one for each figure."""
    figures = ",\n".join(
        f"  {_json(name)}: {_json(figure)}" for name, figure in result.figures.items()
    )
    # The figures come last, so that the other fields stand on one line before them.
    others = {name: value for name, value in _fields(result).items() if name != "figures"}
    return f' {_json(others)[:-1]}, "figures": {{\n{figures}}}}}'


def _fields(result: Result) -> dict[str, object]:
    return {each.name: getattr(result, each.name) for each in fields(result)}


def _json(value: object, *, indent: int = 0) -> str:
    """Return *value* as JSON; on one line if *indent* is 0."""
    return msgspec.json.format(msgspec.json.encode(value), indent=indent).decode()


def _machine() -> str:
    release = platform.release().partition("-")[0]
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {release}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
