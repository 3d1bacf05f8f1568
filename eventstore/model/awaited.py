"""Find the position that a caller waits for: of an event, or of an append's result. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from eventstore.model.checks import shown
from eventstore.model.events import AppendResult, RecordedEvent
from eventstore.model.names import ALL_STREAMS

__all__ = ["Awaited", "position_in"]

Awaited = AppendResult | Sequence[AppendResult] | RecordedEvent
"""What a caller may wait for: the result of an append, several of them, or an event."""


def position_in(stream_id: str, what: object) -> int:
    """Return the position of *what* in a stream, or in the store for ``$all``.

    Args:
        stream_id: The subscribed stream, or ``$all``.
        what: An append's result, several of them, or an event.

    Raises:
        ValueError: It has no position in that stream.
        TypeError: It is neither a result nor an event.
    """
    match what:
        case RecordedEvent() if stream_id == ALL_STREAMS:
            return what.global_position
        case RecordedEvent() if what.stream_id == stream_id:
            return what.stream_version
        case AppendResult() if stream_id == ALL_STREAMS:
            if what.last_global_position is not None:
                return what.last_global_position
            raise ValueError(f"the append to {what.stream_id!r} only checked the stream")
        case AppendResult() if what.stream_id == stream_id:
            return what.last_version
        case RecordedEvent() | AppendResult():
            raise ValueError(f"{what.stream_id!r} is not the subscribed stream {stream_id!r}")
        case [*results] if results:
            return max(_positions_in(stream_id, results))
    raise TypeError(f"wait for an AppendResult, several of them, or an event: {shown(what)}")


def _positions_in(stream_id: str, results: Sequence[object]) -> list[int]:
    concerned = [
        result
        for result in results
        if not isinstance(result, AppendResult)
        or (
            result.last_global_position is not None
            if stream_id == ALL_STREAMS
            else result.stream_id == stream_id
        )
    ]
    if not concerned:
        raise ValueError(f"none of the results is of {stream_id!r}")
    return [position_in(stream_id, result) for result in concerned]
