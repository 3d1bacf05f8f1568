"""Events on their way to a subscriber. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

__all__ = ["Parcel", "ParcelQueue"]


class Parcel(msgspec.Struct, frozen=True, gc=False):
    """An event on its way to the subscriber. It takes part in no reference cycle, hence no GC."""

    position: int
    before: int
    """The position read before it: the checkpoint while this is the oldest unacknowledged event."""
    stream_id: str
    size: int
    event: Any
    global_position: int


class ParcelQueue:
    """Parcels in order, with the sum of their bytes."""

    __slots__ = ("bytes", "parcels")

    def __init__(self) -> None:
        self.parcels: deque[Parcel] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.parcels)

    def append(self, parcel: Parcel) -> None:
        self.parcels.append(parcel)
        self.bytes += parcel.size

    def extend(self, parcels: Sequence[Parcel], size: int) -> None:
        self.parcels.extend(parcels)
        self.bytes += size

    def drop_up_to(self, position: int) -> None:
        parcels = self.parcels
        while parcels and parcels[0].position <= position:
            self.bytes -= parcels.popleft().size

    def clear(self) -> None:
        self.parcels.clear()
        self.bytes = 0
