"""Which events a read or a subscription is about, as the database, too, can tell. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from inspect import cleandoc
from typing import Any, NoReturn, Protocol, TypedDict, TypeVar

from eventstore.model.checks import is_int, shown
from eventstore.model.names import check_name
from eventstore.model.serializer import MAX_DIGITS, JsonSerializer

__all__ = ["EventFilter", "FilterKeywords", "Scalar", "documents_filter"]

Scalar = str | int | float | bool | None
"""A value of JSON that is neither an array nor an object."""

_HIGHEST = 10**MAX_DIGITS


class FilterKeywords(TypedDict, total=False):
    """Arguments that choose events. All that are given must hold.

    The database leaves out the others, and does not send them.

    event_types: The event's type, or a list of types, of which it has one. Every name under which
        `Config.types` has the same class counts as the type. None: all types. Defaults to None.
    stream_prefix: How the id of its stream begins; for a linked event, of the stream that it was
        appended to. None: all streams. Defaults to None.
    metadata: Keys of the top level of its metadata, each with its value, or with a list of values,
        of which it has one. A value is a str, an int, a float, a bool or None, and has the same
        type in JSON: True is not 1, and 1 is 1.0. None: any metadata, and none. Defaults to None.
    """

    event_types: str | Sequence[str] | None
    stream_prefix: str | None
    metadata: Mapping[str, Scalar | Sequence[Scalar]] | None


_Method = TypeVar("_Method", bound=Callable[..., Any])


def documents_filter(method: _Method) -> _Method:
    """Append the arguments of a filter to the docstring of *method*, as ``help`` shows it."""
    if method.__doc__ and FilterKeywords.__doc__:  # stripped by python -OO
        method.__doc__ = f"{cleandoc(method.__doc__)}\n\n{cleandoc(FilterKeywords.__doc__)}\n"
    return method


class Filtered(Protocol):
    """What a filter looks at: the columns of an event."""

    @property
    def event_type(self) -> str: ...

    @property
    def stream_id(self) -> str: ...

    @property
    def format(self) -> str: ...

    @property
    def metadata(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """`FilterKeywords`, parsed and checked, in one order whatever the order they were given in."""

    event_types: tuple[str, ...] = ()
    """Empty: all types."""
    stream_prefix: str = ""
    metadata: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()
    """The keys, each with the values of which it has one."""

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> EventFilter | None:
        """Return the filter that a caller gave; None if it gave none.

        Raises:
            TypeError: An argument is unknown or of the wrong kind; the message names it.
            ValueError: A value is not possible; the message names the argument and shows the value.
        """
        names = FilterKeywords.__annotations__
        for name in given:
            if name not in names:
                raise TypeError(f"{name!r} is not one of the arguments {', '.join(names)}")
        parsers = {"event_types": _types, "stream_prefix": _prefix, "metadata": _metadata}
        values: dict[str, Any] = {
            name: parsers[name](value) for name, value in given.items() if value is not None
        }
        return cls(**values) if values else None

    @property
    def keywords(self) -> dict[str, Any]:
        """The arguments as JSON: equal for equal filters."""
        values = {
            "event_types": list(self.event_types),
            "stream_prefix": self.stream_prefix,
            "metadata": {key: list(wanted) for key, wanted in self.metadata},
        }
        return {name: value for name, value in values.items() if value}

    def decide(self, event: Filtered) -> bool | None:
        """Return whether *event* matches; None if only the reader of its format can tell."""
        if self.event_types and event.event_type not in self.event_types:
            return False
        if not event.stream_id.startswith(self.stream_prefix):
            return False
        if not self.metadata:
            return True
        if event.metadata is None:
            return False
        found = _read(event.metadata) if event.format == JsonSerializer.format else None
        return None if found is None else self.matches_metadata(found)

    def matches_metadata(self, metadata: object) -> bool:
        """Return whether metadata that was read has the wanted values."""
        if not isinstance(metadata, Mapping):
            return False
        return all(
            key in metadata and _is_one_of(metadata[key], wanted) for key, wanted in self.metadata
        )


def _types(given: object) -> tuple[str, ...]:
    named = [given] if isinstance(given, str) else _listed("event_types", given)
    return tuple(sorted({check_name("event_types", name) for name in named}))


def _prefix(given: object) -> str:
    return check_name("stream_prefix", given)


def _metadata(given: object) -> tuple[tuple[str, tuple[Scalar, ...]], ...]:
    if not isinstance(given, Mapping):
        raise TypeError(f"metadata must be a mapping of keys to values: {shown(given)}")
    if not given:
        raise ValueError("metadata must not be empty")
    wanted = []
    for key, value in given.items():
        name = _text("metadata", key)
        values = _listed(f"metadata[{name!r}]", value) if _is_list(value) else [value]
        scalars = {_kind_and_value(scalar := _scalar(name, each)): scalar for each in values}
        wanted.append((name, tuple(scalars[each] for each in sorted(scalars, key=str))))
    return tuple(sorted(wanted))


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes)


def _listed(argument: str, given: object) -> list[object]:
    if not _is_list(given):
        raise TypeError(f"{argument} must be a str or a list of them: {shown(given)}")
    assert isinstance(given, Iterable)
    listed = list(given)
    if not listed:
        raise ValueError(f"{argument} must not have an empty list")
    return listed


def _scalar(key: str, value: object) -> Scalar:
    """Return a value that was given for *key*, as JSON writes it."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(f"metadata[{key!r}]", value)
    if is_int(value):
        if not -_HIGHEST < value < _HIGHEST:
            raise ValueError(f"metadata[{key!r}] has more than {MAX_DIGITS:,} digits")
        return int.__int__(value)
    if not isinstance(value, float):
        raise TypeError(
            f"metadata[{key!r}] must be a str, an int, a float, a bool or None: {shown(value)}"
        )
    if not math.isfinite(value):
        raise ValueError(f"metadata[{key!r}] must be a number of JSON: {shown(value)}")
    number = Decimal(float.__repr__(value))
    return int(number) if number == number.to_integral_value() else float(value)


def _text(argument: str, value: object) -> str:
    """Return *value* if it can be a text in JSON as it is stored."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must have keys that are str: {shown(value)}")
    text = str.__str__(value)
    if "\x00" in text:
        raise ValueError(f"{argument} must not contain NUL: {shown(text)}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{argument} must be valid Unicode without lone surrogates: {shown(text)}"
        ) from None
    return text


def _is_one_of(value: object, wanted: Iterable[Scalar]) -> bool:
    if not isinstance(value, str | int | float | Decimal | None):
        return False
    found = _kind_and_value(value)
    return any(found == _kind_and_value(each) for each in wanted)


def _kind_and_value(scalar: Scalar | Decimal) -> tuple[str, object]:
    """Return the type that *scalar* has in JSON, and what is compared: numbers by their digits."""
    if scalar is None or scalar is True or scalar is False:
        return str(scalar), None
    if isinstance(scalar, str):
        return "text", scalar
    return "number", Decimal(repr(scalar)) if isinstance(scalar, float) else scalar


def _read(metadata: bytes) -> dict[str, Any] | None:
    """Return metadata in JSON, with exact numbers; None if it is no object of JSON."""
    try:
        found = json.loads(
            metadata.decode(), parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse
        )
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refuse(constant: str) -> NoReturn:
    """Refuse NaN and the infinities, which are not JSON."""
    raise ValueError(constant)
