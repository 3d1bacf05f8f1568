"""An event as one line for people. Pure."""

from __future__ import annotations

import msgspec

from eventstore.cli.text import cells, fitted, printable
from eventstore.model.events import RecordedEvent

__all__ = ["event_text"]

_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_POSITION_WIDTH = 7
_GAP = "  "


def event_text(
    event: RecordedEvent, *, with_stream: bool, width: int | None, in_colour: bool
) -> str:
    """Return position, time, stream if asked for, type and payload, cut to *width* columns."""
    start = f"{event.position:>{_POSITION_WIDTH}}{_GAP}{event.created_at:%Y-%m-%d %H:%M:%SZ}"
    texts = [printable(event.event_type), _payload(event)]
    if with_stream:
        texts.insert(0, f"{printable(event.stream_id)}@{event.stream_version}")
    if width is not None:
        texts = _squeezed(texts, width - len(start) - len(_GAP))
    if in_colour:
        start = f"{_DIM}{start}{_PLAIN}"
        texts[-2] = f"{_BOLD}{texts[-2]}{_PLAIN}"
    return _GAP.join([start, *texts]).rstrip()


def _squeezed(texts: list[str], room: int) -> list[str]:
    """Cut *texts* to *room* columns: each may take half of what is left, the last one all."""
    squeezed = []
    for text in texts[:-1]:
        squeezed.append(fitted(text, max(room // 2, 1)))
        room -= cells(squeezed[-1]) + len(_GAP)
    return [*squeezed, fitted(texts[-1], room)]


def _payload(event: RecordedEvent) -> str:
    values = [event.data] if event.metadata is None else [event.data, event.metadata]
    return _GAP.join(printable(msgspec.json.encode(value).decode()) for value in values)
