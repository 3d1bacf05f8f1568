"""How a batch that failed is delivered again, and when an event is given up. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from eventstore.model.checks import (
    check_choice,
    check_duration,
    check_factor,
    check_int,
    shown,
)
from eventstore.model.errors import StorageError

__all__ = ["LIMITED", "GiveUp", "Retry", "TookTooLongError"]

_OUTAGE = (ConnectionError, TimeoutError, StorageError)


class TookTooLongError(TimeoutError):
    """The handler took longer than `ack_timeout`: this may be due to its event."""


LIMITED = 5
"""Attempts of an event that does not stop its subscription."""


class GiveUp(StrEnum):
    """What to do when the attempts of an event are used up."""

    STOP = "stop"
    PARK = "park"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Retry:
    """Delays between deliveries of a batch that fails: exponential backoff.

    A batch of several events comes again after *first*, half as large. From then on that it is
    alone, an event has attempts. An error that looks like an outage uses up none of them.

    Args:
        first: Seconds before the first redelivery. Defaults to 0.1.
        factor: Factor by which each further delay grows, 1 or more. Defaults to 2.
        longest: Longest delay in seconds. Defaults to 30.
        attempts: Failed deliveries of one event alone after which *then* is done. None: no limit
            with "stop", else 5. Defaults to None.
        then: "stop": the subscription stops, loudly; "park": the event is put aside, and with it
            the later ones of its stream, see `EventStore.parked`; "skip": the event is logged,
            counted, and never delivered again. Defaults to "stop".
        outage: Exception classes that use up no attempt, beside `ConnectionError`, `TimeoutError`
            and `StorageError`. Defaults to none.

    Raises:
        TypeError, ValueError: A value is invalid; the message names it.
    """

    first: float = 0.1
    factor: float = 2.0
    longest: float = 30.0
    attempts: int | None = None
    then: Literal["stop", "park", "skip"] | GiveUp = GiveUp.STOP
    outage: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        check_duration("longest", self.longest, least=0)
        check_duration("first", self.first, least=0)
        if self.first > self.longest:
            raise ValueError(f"first must be at most longest ({self.longest}): {self.first}")
        check_factor("factor", self.factor)
        if self.attempts is not None:
            check_int("attempts", self.attempts, least=1)
        check_choice("then", GiveUp, self.then)
        _check_outage(self.outage)

    @property
    def limit(self) -> int | None:
        """Attempts of one event; None: no limit."""
        if self.attempts is None and self.then != GiveUp.STOP:
            return LIMITED
        return self.attempts

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after the *attempt*-th failure in a row, 1-based."""
        exponent = min(attempt - 1, 1_000)
        try:
            return min(self.first * self.factor**exponent, self.longest)
        except OverflowError:
            return self.longest

    def is_outage(self, error: BaseException) -> bool:
        """Tell whether *error* says nothing about the event: what it was sent to is away."""
        # By identity: `isinstance` may call code of the user's.
        bases = type.__dict__["__mro__"].__get__(type(error))
        away = any(base is kind for base in bases for kind in (*_OUTAGE, *self.outage))
        return away and type(error) is not TookTooLongError


def _check_outage(value: object) -> None:
    if not isinstance(value, tuple) or not all(map(_is_exception, value)):
        raise TypeError(f"outage must be a tuple of exception classes: {shown(value)}")


def _is_exception(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)
