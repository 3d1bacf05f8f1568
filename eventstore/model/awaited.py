"""Find the positions that a caller waits for: of an event, of a result, or itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from eventstore.model.checks import check_int, is_int, shown
from eventstore.model.events import AppendResult, LinkResult, RecordedEvent
from eventstore.model.names import ALL_STREAMS

__all__ = ["Awaited", "last_of", "positions_in"]

Awaited = AppendResult | Sequence[AppendResult] | LinkResult | RecordedEvent | int
"""What a caller may wait for: the result of an append, several of them, of a link, an event, or a
position in what is subscribed to."""


def positions_in(stream_id: str, what: object) -> list[range]:
    """Return the positions of *what* in a stream, or in the store for ``$all``, one range or more.

    Args:
        stream_id: The subscribed stream, or ``$all``.
        what: An append's result, several of them, a link's result, an event, or the position.

    Raises:
        ValueError: It has no position in that stream, or is a negative one.
        TypeError: It is neither a result nor an event, nor a position.
    """
    if is_int(what):
        return _run(check_int("position", what, least=0))
    match what:
        case RecordedEvent() if stream_id == ALL_STREAMS:
            return _run(what.global_position)
        case RecordedEvent() if what.stream_id == stream_id:
            return _run(what.stream_version)
        case AppendResult(last_global_position=None) if stream_id in {ALL_STREAMS, what.stream_id}:
            raise ValueError(f"the append to {what.stream_id!r} only checked the stream")
        case AppendResult() if stream_id == ALL_STREAMS:
            assert what.last_global_position is not None
            return _run(what.last_global_position, what.first_global_position)
        case AppendResult() | LinkResult() if what.stream_id == stream_id:
            return _run(what.last_version, what.first_version)
        case RecordedEvent() | AppendResult() | LinkResult():
            raise ValueError(f"{what.stream_id!r} is not the subscribed stream {stream_id!r}")
        case [*results] if results:
            return _of_several(stream_id, results)
    raise TypeError(
        "wait for an AppendResult, several of them, a LinkResult, an event, or a position:"
        f" {shown(what)}"
    )


def last_of(positions: Sequence[range]) -> int:
    """Return the last one of *positions*, as `positions_in` returns them."""
    return max(run[-1] for run in positions)


def _run(last: int, first: int | None = None) -> list[range]:
    return [range(last if first is None else first, last + 1)]


def _of_several(stream_id: str, results: Sequence[object]) -> list[range]:
    concerned = [
        result
        for result in results
        if not isinstance(result, AppendResult)
        or (
            result.last_global_position is not None and stream_id in {ALL_STREAMS, result.stream_id}
        )
    ]
    if not concerned:
        raise ValueError(f"none of the results is of {stream_id!r}")
    found = [run for result in concerned for run in positions_in(stream_id, result)]
    return sorted(found, key=lambda run: run.start)
