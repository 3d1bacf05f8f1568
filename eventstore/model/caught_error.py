"""An exception of user code, described in the thread that caught it. Pure."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from eventstore.model.safe_text import error_text, message_of, name_of, text_of

__all__ = ["CaughtError"]

MOST_TRACEBACK = 12_000

_FRAMES = 20
"""Innermost frames of a traceback that are shown."""
_CHAINED = 4
"""Causes that are shown."""
_NOTES = 5
_MEMBERS = 5
"""Exceptions of a group that are shown."""
_MOST_LINE = 500
"""Characters of a note, and of an exception of a group."""

_CAUSED = "The above exception was the direct cause of the following exception:"
_MEANWHILE = "During handling of the above exception, another exception occurred:"


@dataclass(frozen=True, slots=True, eq=False)
class CaughtError:
    """An exception of user code, and all that may be said about it elsewhere.

    The texts are made once, by `of`, in the thread of the user's code. Every other thread uses the
    texts alone: the exception's own methods are user code, which may raise, block or return
    millions of characters.
    """

    error: BaseException = field(repr=False)
    """For the holder of the subscription's handle, and for nobody else."""
    text: str
    """Its repr on one line, at most 2,000 characters."""
    traceback: str = ""
    """Traceback, causes and notes, as Python prints them, at most 12,000 characters."""
    where: str = ""
    """The events that it was raised for, if known."""

    @classmethod
    def of(cls, error: BaseException) -> CaughtError:
        """Describe *error*; call it where user code raised it. Nothing is raised."""
        return cls(error, error_text(error), _traceback_of(error))

    @property
    def placed_text(self) -> str:
        """The text, and where it was raised."""
        return f"{self.text} ({self.where})" if self.where else self.text

    @property
    def full_text(self) -> str:
        """The placed text, and the traceback from the second line on."""
        return f"{self.placed_text}\n{self.traceback}" if self.traceback else self.placed_text

    def at(self, where: str) -> CaughtError:
        """Return it with the events that it was raised for."""
        return replace(self, where=where)

    @classmethod
    def own(cls, error: BaseException) -> CaughtError:
        """Describe an error of the store itself; its causes are left alone."""
        return cls(error, error_text(error))


def _traceback_of(error: BaseException) -> str:
    try:
        text = "\n\n".join(_chain(error))
    except BaseException:  # noqa: BLE001 - the error itself matters more than its traceback
        return ""
    return text if len(text) <= MOST_TRACEBACK else f"…{text[-MOST_TRACEBACK:]}"


def _chain(error: BaseException) -> Iterator[str]:
    """Return the causes of *error*, the oldest first, then *error*."""
    links = [_described(error)]
    seen = {id(error)}
    while len(links) <= 2 * _CHAINED:
        cause, context = error.__cause__, error.__context__
        before = context if cause is None and not error.__suppress_context__ else cause
        if before is None or id(before) in seen:
            break
        seen.add(id(before))
        links += [_MEANWHILE if cause is None else _CAUSED, _described(before)]
        error = before
    return reversed(links)


def _described(error: BaseException) -> str:
    frames = traceback.format_tb(error.__traceback__, limit=-_FRAMES)
    name, message = name_of(type(error)), message_of(error)
    lines = [f"{name}: {message}" if message else name]
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        lines += [message_of(note, _MOST_LINE) for note in notes[:_NOTES]]
    if isinstance(error, BaseExceptionGroup):
        lines += [f"  | {text_of(member, _MOST_LINE)}" for member in error.exceptions[:_MEMBERS]]
    return "".join(["Traceback (most recent call last):\n", *frames, "\n".join(lines)])
