"""The registry of payload classes: each event type has one, and its bytes can be read. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from eventstore.model.checks import shown
from eventstore.model.names import check_name
from eventstore.model.serializer import Serializer, Types, reader

__all__ = ["registered"]


def registered(types: Types, serializer: Serializer) -> dict[str, type]:
    """Return the payload classes by event type.

    Raises:
        TypeError, ValueError: One is no class, cannot be read, or has the name of another.
    """
    named = types.items() if isinstance(types, Mapping) else [(_name_of(t), t) for t in types]
    registry: dict[str, type] = {}
    for name, payload_type in named:
        plain = check_name("types", name)
        if not isinstance(payload_type, type):
            raise TypeError(f"types must hold classes, {plain!r} is {shown(payload_type)}")
        if plain in registry:
            raise ValueError(f"types has two classes for {plain!r}")
        _check_readable(serializer, plain, payload_type)
        registry[plain] = payload_type
    return registry


def _check_readable(serializer: Serializer, name: str, payload_type: type) -> None:
    try:
        reader(serializer, payload_type)
    except Exception as error:
        raise TypeError(
            f"types has a class that cannot be read from JSON, {name!r}:"
            f" {payload_type.__name__} ({error})"
        ) from error


def _name_of(payload_type: type) -> str:
    """Return the name of a class; of anything else, which is refused later, that of its type."""
    return getattr(payload_type, "__name__", type(payload_type).__name__)
