"""What a run of the suite came to, with machine and versions, as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure
from benchmarks.workload import Scale, Workload

__all__ = ["Conditions", "Result", "Results"]

_LIBRARIES = ("psycopg", "pykka", "msgspec")
_PERCENTILES = (50, 99, 100)


@dataclass(frozen=True, slots=True)
class Result:
    """A workload and what each contender made of it."""

    workload: Workload
    figures: Mapping[str, Figure]

    def ratio(self, contender: str, to: str) -> float | None:
        """Return how many times better *contender* was than *to*, by medians."""
        if not {contender, to} <= self.figures.keys():
            return None
        better, other = self.figures[contender].median, self.figures[to].median
        above, below = (better, other) if self.workload.better == "higher" else (other, better)
        return above / below if below else None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must be known to read the figures."""

    command: str
    date: str
    machine: str
    contenders: Mapping[str, str]
    """Version, or why it did not run, by name."""
    server: Mapping[str, str]
    """Version and settings of PostgreSQL."""

    @classmethod
    def of(
        cls, scale: Scale, contenders: Mapping[str, str], server: Mapping[str, str]
    ) -> Conditions:
        return cls(
            command="make bench" if scale.name == "full" else f"make bench {scale.name.upper()}=1",
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            machine=_machine(),
            contenders=contenders,
            server=server,
        )


@dataclass(slots=True)
class Results:
    """All results so far, in order."""

    conditions: Conditions
    all: list[Result] = field(default_factory=list)
    seconds: dict[str, int] = field(default_factory=dict)
    """That each group took."""

    def of_group(self, group: str) -> list[Result]:
        return [result for result in self.all if result.workload.group == group]

    @property
    def groups(self) -> list[str]:
        return list(dict.fromkeys(result.workload.group for result in self.all))

    def find(self, group: str, name: str) -> Result | None:
        return next((one for one in self.of_group(group) if one.workload.name == name), None)

    def save(self, path: Path) -> None:
        """Write every value to *path*."""
        conditions = self.conditions
        content = {
            "command": conditions.command,
            "date": conditions.date,
            "machine": conditions.machine,
            "python": platform.python_version(),
            "libraries": {name: version(name) for name in _LIBRARIES},
            "contenders": dict(conditions.contenders),
            "server": dict(conditions.server),
            "seconds": self.seconds,
            "workloads": [dict(_workload(result)) for result in self.all],
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _workload(result: Result) -> Iterator[tuple[str, Any]]:
    workload = result.workload
    yield "group", workload.group
    yield "name", workload.name
    yield "unit", workload.unit
    yield "better", workload.better
    yield "contenders", {name: dict(_figure(figure)) for name, figure in result.figures.items()}


def _figure(figure: Figure) -> Iterator[tuple[str, Any]]:
    yield "values", _rounded(figure.values)
    if figure.latency(50) is not None:
        yield (
            "latency_ms",
            {
                f"p{percent}": round(1_000 * (figure.latency(percent) or 0), 4)
                for percent in _PERCENTILES
            },
        )
    if figure.cpu_per_event is not None:
        yield "cpu_us_per_event", round(1_000_000 * figure.cpu_per_event, 3)
    if figure.extra:
        yield "extra", figure.extra


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _machine() -> str:
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
