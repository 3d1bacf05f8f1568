"""Read: a stream of 100 events by 1 to 100 readers, one of 1,000, and everything in order."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.contenders.arena import Arena
from benchmarks.contenders.contender import Contender
from benchmarks.measuring.measure import together
from benchmarks.measuring.workload import Measurement, Round, Run, Workload

__all__ = ["workloads"]

GROUP = "read"
PER_STREAM = 1_000


def workloads(arena: Arena) -> Iterator[Workload]:
    """Yield all of them at every scale; in full over a million events."""
    contenders = arena.contenders()
    for length, readers in ((100, (1, 10, 50, 100)), (1_000, (1,))):
        stream = f"of-{length}"
        for contender in contenders:
            contender.fill(stream, length)
        for number in readers:
            yield Workload(
                name=f"stream of {length}, {number} {'reader' if number == 1 else 'readers'}",
                group=GROUP,
                unit="events/s",
                panel=f"a stream of {length:,} events",
                label=f"{number} {'reader' if number == 1 else 'readers'}",
                contenders={c.name: _of_stream(c, stream, length, number) for c in contenders},
            )
    total = arena.scale.pick(1_000_000, 50_000, 3_000)
    for contender in contenders:
        for number in range(total // PER_STREAM):
            contender.fill(f"one-of-many-{number}", PER_STREAM)
    yield Workload(
        name=f"$all, {total:,} events",
        group=GROUP,
        unit="events/s",
        panel="everything, in order",
        label=f"{total:,} events",
        contenders={c.name: _of_everything(c) for c in contenders},
        rounds=arena.scale.pick(2, 2, 1),
    )


def _of_stream(contender: Contender, stream: str, length: int, readers: int) -> Run:
    def run(round_: Round) -> Measurement:
        return together([contender.read(stream, length, readers, round_.seconds)], length)

    return run


def _of_everything(contender: Contender) -> Run:
    return lambda _: contender.read_all()
