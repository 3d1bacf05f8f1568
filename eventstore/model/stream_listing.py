"""Which streams to list, and in which order. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from eventstore.model.checks import check_bool, check_choice
from eventstore.model.names import MAX_NAME_BYTES, check_name

__all__ = ["StreamListing", "StreamOrder"]

_HIGHEST = chr(0x10FFFF)

_SURROGATES = range(0xD800, 0xE000)
"""They are no characters."""


class StreamOrder(StrEnum):
    """An order of streams."""

    STREAM_ID = "stream_id"
    """By the bytes of their ids."""
    CREATION = "creation"
    """As they were created here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamListing:
    """Which streams to list, and in which order."""

    prefix: str = ""
    """How the id begins."""
    search: str = ""
    """What the id contains, letter by letter."""
    order: StreamOrder = StreamOrder.STREAM_ID
    descending: bool = False

    @classmethod
    def of(
        cls, *, prefix: object, search: object, order: object, descending: object
    ) -> StreamListing:
        """Return the listing of the arguments of `EventStore.streams`.

        Raises:
            TypeError, ValueError: An argument is invalid; the message names it.
        """
        return cls(
            prefix=check_name("prefix", prefix) if prefix != "" else "",
            search=check_name("search", search) if search != "" else "",
            order=check_choice("order", StreamOrder, order),
            descending=check_bool("descending", descending),
        )

    @property
    def end(self) -> str:
        """The lowest text above every id that begins with the prefix, in the order of bytes."""
        kept = self.prefix.rstrip(_HIGHEST)
        if not kept:
            return _HIGHEST * (MAX_NAME_BYTES // 4 + 1)
        following = ord(kept[-1]) + 1
        return kept[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)

    def holds(self, stream_id: str) -> bool:
        """Tell whether this stream is listed."""
        return stream_id.startswith(self.prefix) and self.search in stream_id
