"""What can be done to a spot; each name reads as what becomes of it."""

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
    """Take it out: a statement does nothing, an operand or argument is left away."""
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
    """Look at another attribute of the same object."""
    return lambda spot: spot.with_attribute(name)


def before(text: str) -> Change:
    """Do something more before this statement."""
    return lambda spot: spot.surrounded(before=text)


def after(text: str) -> Change:
    """Do something more after this statement."""
    return lambda spot: spot.surrounded(after=text)


def then(text: str) -> Change:
    """Have an ``if``, a loop or a function do something else."""
    return lambda spot: spot.with_block("body", text)


def otherwise(text: str) -> Change:
    """Have the ``else`` of an ``if`` or of a loop do something else."""
    return lambda spot: spot.with_block("orelse", text)
