"""One mutation of the product: what is changed, what that breaks, who has to notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["DoesNotApplyError", "Mutant"]


class DoesNotApplyError(Exception):
    """The code has changed: the mutant's text is not there exactly once."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one place in one file."""

    name: str
    guarantee: str
    """Number of what is broken, as the README lists it."""
    breaks: str
    """What goes wrong, in a sentence."""
    file: str
    before: str
    """Stands in *file* exactly once."""
    after: str
    killers: tuple[str, ...]
    """Tests of which at least one has to fail, as pytest is told."""

    def apply(self, tree: Path) -> str:
        """Change the file in *tree*, and return its text of before.

        Raises:
            DoesNotApplyError: The text to change is missing, or ambiguous.
        """
        path = tree / self.file
        original = path.read_text("utf-8")
        path.write_text(self.mutated(original), "utf-8")
        return original

    def mutated(self, original: str) -> str:
        """Return *original*, the text of the file, as this mutant has it."""
        count = original.count(self.before)
        if count != 1:
            raise DoesNotApplyError(
                f"{self.name}: in {self.file} its text stands {count} times, not once:"
                f" {self.before!r}"
            )
        return original.replace(self.before, self.after)
