"""Compares the subscriber's sums with those of the file. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eventstore_actors.demo.delays import Board, Delays

__all__ = ["TABLE_NAMES", "differences", "table_rows"]

TABLE_NAMES = ("carrier", "flights", "cancelled", "late", "dep. delay", "arr. delay")


def differences(board: Board, expected: Mapping[str, Delays], events: int) -> list[str]:
    """Return a line of text for each difference between *board* and *expected*."""
    found = []
    if board.position != events:
        found.append(f"the last position is #{board.position:,}, not #{events:,}")
    for carrier in sorted(expected.keys() | board.carriers.keys()):
        counted, true = board.carriers.get(carrier), expected.get(carrier)
        if counted != true:
            found.append(f"{carrier}: counted {counted}, the file says {true}")
    return found


def table_rows(board: Board, airlines: Mapping[str, str]) -> list[Sequence[str]]:
    """Return a row of text for each carrier, the one with the most flights first."""
    carriers = sorted(board.carriers.items(), key=lambda item: -item[1].flights)
    return [_row(airlines[carrier], delays) for carrier, delays in carriers]


def _row(name: str, delays: Delays) -> Sequence[str]:
    return (
        name,
        f"{delays.flights:,}",
        f"{delays.cancelled:,}",
        f"{delays.late / delays.departed:.0%}" if delays.departed else "-",
        _mean(delays.departure_minutes, delays.departed),
        _mean(delays.arrival_minutes, delays.arrived),
    )


def _mean(minutes: int, count: int) -> str:
    return f"{minutes / count:+.1f} min" if count else "-"
