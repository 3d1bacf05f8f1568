"""What every place in the product has in common, whether it is written in Python or in SQL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from tests.mutants.places.product import Product

__all__ = ["Change", "DoesNotApplyError", "Edit", "Place", "Spot", "the_one"]

Candidate = TypeVar("Candidate")


class DoesNotApplyError(Exception):
    """The product has no such place, or several, or the change does not fit it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """New text for one span of one file."""

    file: Path
    source: str
    """Text of the whole file before the edit."""
    start: int
    end: int
    text: str

    @property
    def result(self) -> str:
        """Text of the whole file after the edit."""
        return self.source[: self.start] + self.text + self.source[self.end :]


class Spot(ABC):
    """A place that was found: a node of Python, or a span of SQL."""

    @property
    @abstractmethod
    def text(self) -> str: ...

    @abstractmethod
    def replaced(self, text: str) -> Edit:
        """Put *text* there."""

    @abstractmethod
    def removed(self) -> Edit:
        """Take it out, with the comma or operator that joins it to its neighbours."""

    @abstractmethod
    def negated(self) -> Edit: ...

    @abstractmethod
    def literal(self, value: bool | float | str | None) -> Edit:
        """Put a constant there."""

    @abstractmethod
    def surrounded(self, *, before: str = "", after: str = "") -> Edit:
        """Put statements before or after this statement."""

    def with_operator(self, operator: str) -> Edit:
        raise DoesNotApplyError(f"{self.text!r} has no operator to replace by {operator!r}")

    def calling(self, name: str) -> Edit:
        raise DoesNotApplyError(f"{self.text!r} is no call that could go to {name!r} instead")

    def with_attribute(self, name: str) -> Edit:
        raise DoesNotApplyError(f"{self.text!r} is no attribute that {name!r} could replace")

    def with_block(self, block: str, text: str) -> Edit:
        raise DoesNotApplyError(f"{self.text!r} has no {block} to replace by {text!r}")

    def done_once(self) -> Edit:
        raise DoesNotApplyError(f"{self.text!r} is no loop")


class Place(Protocol):
    """The name of what a mutant changes. It can be looked up in any tree of the product."""

    def find(self, product: Product) -> Spot:
        """Return the one spot that is meant.

        Raises:
            DoesNotApplyError: There is none, or more than one.
        """


Change = Callable[[Spot], Edit]
"""What a mutant does to the spot."""


def the_one(
    what: str, candidates: Sequence[Candidate], nth: int | None, show: Callable[[Candidate], str]
) -> Candidate:
    """Return the candidate number *nth*, or the only one if *nth* is None.

    Raises:
        DoesNotApplyError: It does not exist or is ambiguous; the message lists the candidates.
    """
    if nth is not None and nth < len(candidates):
        return candidates[nth]
    if nth is None and len(candidates) == 1:
        return candidates[0]
    listed = "".join(f"\n  {i}: {show(candidate)}" for i, candidate in enumerate(candidates))
    wanted = f"one {what}" if nth is None else f"{what} number {nth}"
    raise DoesNotApplyError(f"wanted {wanted}, found {len(candidates)}{listed}")
