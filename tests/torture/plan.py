"""Draws the schedule of faults from a seed, so that it can be repeated. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ALL_KINDS", "NETWORK", "Fault", "Kind", "plan"]


class Kind(StrEnum):
    """A kind of fault."""

    CUT_LISTENERS = "cut listeners"
    CUT_POOLS = "cut pools"
    CUT_SOME = "cut random backends"
    CUT_ALL = "cut all backends"
    KILL_RUNTIME = "kill -9 a runtime"
    ROLL_RUNTIME = "replace a runtime"
    FREEZE_RUNTIME = "freeze a runtime"
    KILL_WRITER = "kill -9 a writer"
    RESTART_SERVER = "restart the server"
    DELAY = "slow network"
    BLACK_HOLE = "black hole"
    HALF_OPEN = "half open"
    RESET = "connections reset"
    FOREIGN_SAME = "foreign transaction"
    FOREIGN_OTHER = "foreign database"
    PAUSE = "pause"
    RESET_SUBSCRIPTION = "reset a subscription"
    DELETE_SUBSCRIPTIONS = "delete subscriptions in a row"
    FORGERY = "forged notifications"
    CUT_LISTENING = "listening path cut"
    NOT_DURABLE = "durability off, then a crash"
    READ_ONLY = "read only"
    ISOLATION = "another isolation level"
    TIME_LIMITS = "time limits of the server"
    REVOKE = "rights revoked"
    NO_CONNECTIONS = "connections used up"
    CLOCK_BACK = "clock set back"
    DISK_FULL = "disk full"


ALL_KINDS = tuple(Kind)

NETWORK = frozenset({Kind.DELAY, Kind.BLACK_HOLE, Kind.HALF_OPEN})
"""Faults of the network. They use the same proxy, so they must not overlap."""

_SECONDS: dict[Kind, tuple[float, float]] = {
    Kind.FREEZE_RUNTIME: (2.0, 3.5),
    Kind.ROLL_RUNTIME: (1.0, 3.0),
    Kind.DELAY: (1.0, 2.0),
    Kind.BLACK_HOLE: (0.5, 2.0),
    Kind.HALF_OPEN: (0.5, 2.0),
    Kind.FOREIGN_SAME: (2.0, 8.0),
    Kind.FOREIGN_OTHER: (2.0, 8.0),
    Kind.PAUSE: (0.3, 1.5),
    Kind.FORGERY: (1.0, 3.0),
    Kind.CUT_LISTENING: (1.0, 3.0),
    Kind.NOT_DURABLE: (0.5, 1.5),
    Kind.READ_ONLY: (0.5, 2.0),
    Kind.ISOLATION: (1.0, 3.0),
    Kind.TIME_LIMITS: (1.0, 3.0),
    Kind.REVOKE: (0.5, 2.0),
    Kind.NO_CONNECTIONS: (0.5, 2.0),
    Kind.DISK_FULL: (0.5, 2.0),
}
"""Shortest and longest duration; other faults are over at once. A freeze outlasts the lease."""

_MEAN_GAP = 1.0
"""Mean seconds between two faults."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that begins *at* seconds after the start and lasts *seconds*."""

    at: float
    kind: Kind
    seconds: float
    dice: float
    """Random number in [0, 1), which selects the victim."""


def plan(seed: int, seconds: float, kinds: Sequence[Kind] = ALL_KINDS) -> list[Fault]:
    """Return the faults of the next *seconds*, by time; each kind comes once per round."""
    rng = random.Random(seed)
    faults: list[Fault] = []
    at, network_free_at = 0.5, 0.0
    for kind in _rounds(rng, kinds):
        if kind in NETWORK:
            at = max(at, network_free_at)
        lasts = rng.uniform(*_SECONDS.get(kind, (0.0, 0.0)))
        if at > seconds:
            break
        if kind in NETWORK:
            network_free_at = at + lasts
        faults.append(Fault(at, kind, lasts, rng.random()))
        at += _MEAN_GAP * rng.uniform(0.5, 1.5)
    return faults


def _rounds(rng: random.Random, kinds: Sequence[Kind]) -> Iterator[Kind]:
    while True:
        yield from rng.sample(kinds, len(kinds))
