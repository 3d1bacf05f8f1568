"""The changes that a mutant can make."""

from __future__ import annotations

from tests.mutants.places.place import Change, Edit, Spot

__all__ = [
    "after",
    "attribute",
    "before",
    "calls",
    "constant",
    "negate",
    "once",
    "operator",
    "otherwise",
    "remove",
    "replace",
    "then",
]


def remove(spot: Spot) -> Edit:
    """Take it out: a statement does nothing, an operand or argument is left out."""
    return spot.removed()


def negate(spot: Spot) -> Edit:
    """Turn a condition around."""
    return spot.negated()


def once(spot: Spot) -> Edit:
    """Make an ``if`` of a ``while``."""
    return spot.done_once()


def constant(value: bool | float | str | None) -> Change:
    """Put *value* there."""
    return lambda spot: spot.literal(value)


def replace(text: str) -> Change:
    """Put *text* there, in which ``{}`` stands for what is there now."""
    return lambda spot: spot.replaced(text.replace("{}", spot.text))


def operator(text: str) -> Change:
    """Give a comparison, or a calculation, another operator."""
    return lambda spot: spot.with_operator(text)


def calls(name: str) -> Change:
    """Call another method or function with the same arguments."""
    return lambda spot: spot.calling(name)


def attribute(name: str) -> Change:
    """Use another attribute of the same object."""
    return lambda spot: spot.with_attribute(name)


def before(text: str) -> Change:
    """Add a statement before this one."""
    return lambda spot: spot.surrounded(before=text)


def after(text: str) -> Change:
    """Add a statement after this one."""
    return lambda spot: spot.surrounded(after=text)


def then(text: str) -> Change:
    """Give an ``if`` or a loop another body."""
    return lambda spot: spot.with_block("body", text)


def otherwise(text: str) -> Change:
    """Give an ``if`` or a loop another ``else``."""
    return lambda spot: spot.with_block("orelse", text)
