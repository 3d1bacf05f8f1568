"""Text for terminals: on one line, harmless, as wide as there is room. Pure."""

from __future__ import annotations

import unicodedata

__all__ = ["cells", "fitted", "one_line", "printable"]


def printable(text: str) -> str:
    """Return *text* with everything escaped that would move a cursor or change a colour."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Return *text* in one printable line; runs of blanks and line ends become one blank."""
    return printable(" ".join(text.split()))


def fitted(text: str, width: int) -> str:
    """Return *text* cut to *width* columns of a terminal, with an ellipsis if something is gone."""
    if cells(text) <= width:
        return text
    kept, used = [], 0
    for character in text:
        used += _cells_of(character)
        if used >= width:
            break
        kept.append(character)
    return "".join(kept) + "…" if width > 0 else ""


def cells(text: str) -> int:
    """Return how many columns of a terminal *text* takes."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
