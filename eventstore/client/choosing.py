"""Checks the choice of parked events that a caller makes."""

from __future__ import annotations

from eventstore.model.checks import check_bool, check_int
from eventstore.model.names import MAX_POSITION, check_name, check_stream_id, check_subscribable
from eventstore.ports.parking import Choice

__all__ = ["choice_of"]


def choice_of(
    stream_id: str,
    subscription_name: str,
    key: str | None,
    limit: int | None,
    skip_reason: str | None,
    *,
    dry_run: bool,
) -> Choice:
    """Return the choice.

    Raises:
        TypeError, ValueError: An argument is invalid; the message names it.
    """
    most = None if limit is None else check_int("limit", limit, least=1, most=MAX_POSITION)
    return Choice(
        stream_id=check_subscribable(stream_id),
        subscription_name=check_name("subscription_name", subscription_name),
        key=None if key is None else check_stream_id(key),
        limit=most,
        skip_reason=skip_reason,
        dry_run=check_bool("dry_run", dry_run),
    )
