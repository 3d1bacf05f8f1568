"""One mutation of the product: what is changed, what that breaks, who has to notice."""

from __future__ import annotations

from dataclasses import dataclass

from tests.mutants.places.place import Change, DoesNotApplyError, Edit, Place
from tests.mutants.places.product import Product

__all__ = ["Mutant"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one place."""

    name: str
    guarantee: str
    """Number of what is broken, as the README lists it."""
    breaks: str
    """What goes wrong, in a sentence."""
    where: Place
    change: Change
    killers: tuple[str, ...]
    """Tests of which at least one has to fail, as pytest is told."""

    def edit(self, product: Product) -> Edit:
        """Return what to write into which file of *product*.

        Raises:
            DoesNotApplyError: The place is missing or ambiguous, or the change does not fit it.
        """
        try:
            edit = self.change(self.where.find(product))
        except DoesNotApplyError as error:
            raise DoesNotApplyError(f"{self.name}: {error}") from error
        if edit.result == edit.source:
            raise DoesNotApplyError(f"{self.name} changes nothing in {edit.file}")
        return edit
