"""Append: 1 to 100 callers, 1 and 100 events per append, to new and to existing streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial

from benchmarks.contenders.arena import Arena
from benchmarks.contenders.contender import Contender, Load
from benchmarks.contenders.crew import Crew
from benchmarks.measuring.measure import together
from benchmarks.measuring.workload import Measurement, Round, Run, Workload
from benchmarks.workloads.series_workload import series

__all__ = ["workloads"]

GROUP = "append"

Shape = tuple[int, int]
"""Callers at once, events per append."""


_CALLERS = (1, 10, 50, 100)
_ALL: tuple[Shape, ...] = tuple((callers, events) for events in (1, 100) for callers in _CALLERS)
_TARGETS: tuple[Shape, ...] = ((1, 1), (10, 1), (100, 1), (1, 100), (10, 100), (50, 100))
_IN_PROCESSES: tuple[Shape, ...] = ((10, 1), (100, 1), (10, 100))
_ONE: tuple[Shape, ...] = ((10, 1),)


def workloads(arena: Arena) -> Iterator[Workload]:
    """Yield all of them in full; in quick, those with targets and one of each other kind."""
    pick = arena.scale.pick
    yield from _from_threads(arena, "", pick(_ALL, _TARGETS, _TARGETS), Load)
    existing = partial(Load, existing=True)
    yield from _from_threads(arena, ", existing streams", pick(_ALL, ((100, 1),), _ONE), existing)
    large = partial(Load, size=2_000)
    yield from _from_threads(arena, ", 2 KB events", pick(_ALL, ((10, 100),), _ONE), large)
    yield series(arena)
    yield from _from_processes(arena, pick(_ALL, _IN_PROCESSES, _IN_PROCESSES))


def _from_threads(
    arena: Arena, kind: str, shapes: Iterable[Shape], load_of: Callable[[int], Load]
) -> Iterator[Workload]:
    for callers, events in shapes:
        yield _workload(
            arena,
            name=f"{callers} x {events}{kind}",
            panel=f"{_of(events)} per append{kind or ', new streams'}",
            label=f"{callers} {'caller' if callers == 1 else 'callers'}",
            run_of=partial(_run_in_threads, callers, load_of(events)),
        )


def _from_processes(arena: Arena, shapes: Iterable[Shape]) -> Iterator[Workload]:
    """Yield appends from processes; the processes end with the last of these workloads."""
    size = arena.scale.pick(4, 4, 1)
    with ExitStack() as closing:
        crews = {contender.name: Crew(contender, size) for contender in arena.contenders()}
        for crew in crews.values():
            closing.callback(crew.close)
            crew.wait()
        for callers, events in shapes:
            each = max(1, callers // size)
            yield _workload(
                arena,
                name=f"{size} processes of {each} x {events}",
                panel=f"{_of(events)} per append, {size} processes",
                label=f"{size} · {each} callers",
                run_of=partial(_run_in_crew, crews, each, Load(events)),
            )


def _of(events: int) -> str:
    return "1 event" if events == 1 else f"{events} events"


def _workload(
    arena: Arena, *, name: str, panel: str, label: str, run_of: Callable[[Contender], Run]
) -> Workload:
    return Workload(
        name=name,
        group=GROUP,
        unit="events/s",
        contenders={contender.name: run_of(contender) for contender in arena.contenders()},
        panel=panel,
        label=label,
    )


def _run_in_threads(callers: int, load: Load, contender: Contender) -> Run:
    def run(round_: Round) -> Measurement:
        return together([contender.append(load, callers, round_.seconds)], load.events)

    return run


def _run_in_crew(crews: Mapping[str, Crew], callers: int, load: Load, contender: Contender) -> Run:
    crew = crews[contender.name]
    return lambda round_: together(crew.append(load, callers, round_.seconds), load.events)
