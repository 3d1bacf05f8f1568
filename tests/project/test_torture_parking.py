"""The verdict about parked events: a clean history passes, each kind of damage is named."""

from __future__ import annotations

import pytest

from tests.torture.parking import Handled, Parked, broken_parking, overtaken

STREAMS = {1: "s-0", 2: "s-1", 3: "s-0", 4: "s-0", 5: "s-1"}


def told(*positions: int) -> list[Handled]:
    """Return that these were handled in this order."""
    return [
        Handled(float(nth), STREAMS[position], position, replay=False)
        for nth, position in enumerate(positions)
    ]


def skipped(*positions: int, at: float = 0.5) -> list[Parked]:
    """Return that these were skipped, before the second one was handled unless *at* is later."""
    return [Parked(position, at) for position in positions]


def waiting(*positions: int) -> list[Parked]:
    return [Parked(position, None) for position in positions]


@pytest.mark.parametrize(
    ("positions", "parked"),
    [
        ((1, 2, 3, 4, 5), []),
        ((2, 5, 1, 3, 4), []),  # a stream waits, the other one goes on
        ((1, 3, 1, 3, 4, 2, 5), []),  # again
        ((1, 2), [*waiting(3, 4), *skipped(5)]),  # 3 fails for ever
        ((1, 2, 4, 5), skipped(3)),
        # It was handled by a process that was stopped, and skipped meanwhile.
        ((1, 2, 4, 3, 5), skipped(3)),
    ],
)
def test_a_clean_history_passes(positions: tuple[int, ...], parked: list[Parked]) -> None:
    assert list(broken_parking(STREAMS, told(*positions), parked, {3})) == []
    assert list(overtaken(STREAMS, told(*positions), parked)) == []


@pytest.mark.parametrize(
    ("positions", "parked", "wanted"),
    [
        ((1, 2, 4, 5), [], "1 neither handled nor parked: [3]"),
        ((1, 2, 3, 4, 5), waiting(4), "1 handled and parked: [4]"),
        # The last retry did nothing, or a part of it.
        ((), waiting(1, 2, 3, 4, 5), "3 parked that nothing holds up: [1, 2, 5]"),
        ((1, 3, 2), waiting(4, 5), "2 parked that nothing holds up: [4, 5]"),
    ],
)
def test_each_loss_is_named(positions: tuple[int, ...], parked: list[Parked], wanted: str) -> None:
    assert list(broken_parking(STREAMS, told(*positions), parked, {3})) == [wanted]


@pytest.mark.parametrize(
    ("positions", "parked", "wanted"),
    [
        ((1, 4, 3, 2, 5), [], "4 of s-0 was handled before 3"),
        ((5, 4, 2), skipped(1, 3), "5 of s-1 was handled before 2"),
        ((1, 2, 4, 5), waiting(3), "4 of s-0 was handled before 3"),
        ((1, 2, 4, 5), skipped(3, at=2.5), "4 of s-0 was handled before 3"),
    ],
)
def test_each_event_that_overtakes_is_named(
    positions: tuple[int, ...], parked: list[Parked], wanted: str
) -> None:
    # They are handled at 0, 1, 2 and so on.
    told_of = told(*positions)
    assert list(overtaken(STREAMS, told_of, parked)) == [wanted]
