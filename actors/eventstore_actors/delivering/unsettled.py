"""What a transactional function says of a batch that was not handled, by no error of its own."""

from __future__ import annotations

from dataclasses import dataclass

from eventstore.ports.effects import Settlement

__all__ = ["Unsettled", "UnsettledError"]


@dataclass(frozen=True, slots=True)
class Unsettled:
    """From a function subscriber to its subscription: what it found of a batch, in the row."""

    run: int
    how: Settlement
    """Never `Settlement.DONE`."""


class UnsettledError(Exception):
    """The batch was not handled, and that is no error of the handler's."""

    def __init__(self, how: Settlement) -> None:
        super().__init__(how.value)
        self.how = how
