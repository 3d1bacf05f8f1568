"""Commands about subscriptions, wherever they run."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import assert_never

from eventstore import EventStore, SubscriptionInfo, SubscriptionNotFoundError
from eventstore.cli.failures import RefusedError
from eventstore.cli.output import Column, Output, one_line, printable

__all__ = ["Action", "act", "list_subscriptions", "show_subscriptions"]


class Action(StrEnum):
    """What can be done to a subscription."""

    PAUSE = "pause"
    RESUME = "resume"
    RESET = "reset"
    DELETE = "delete"


_COLUMNS = (
    Column("subscription"),
    Column("stream"),
    Column("state"),
    Column("checkpoint", numeric=True),
    Column("lag", numeric=True),
    Column("behind", numeric=True),
    Column("owner"),
)

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def list_subscriptions(store: EventStore, out: Output, *, stream_id: str | None) -> None:
    """Print every subscription, or those to one stream."""
    infos = store.subscriptions()
    if stream_id is not None:
        infos = [info for info in infos if info.stream_id == stream_id]
    if out.as_json:
        for info in infos:
            out.json(info)
    else:
        show_subscriptions(infos, out)


def show_subscriptions(infos: Sequence[SubscriptionInfo], out: Output) -> None:
    """Print a table, and below it what went wrong."""
    if not infos:
        print("no subscriptions")
        return
    out.table(_COLUMNS, [_row(info) for info in infos])
    for info in infos:
        if info.last_error is not None:
            print(_error_text(info))


def _row(info: SubscriptionInfo) -> list[str]:
    return [
        printable(info.subscription_name),
        printable(info.stream_id),
        "paused" if info.paused else info.state.replace("_", " "),
        f"{info.checkpoint:,}",
        f"{info.lag_events:,}",
        _duration(info.lag_seconds),
        "-" if info.owner is None else printable(info.owner),
    ]


def _duration(seconds: float) -> str:
    """Return *seconds* in the greatest unit of which there are two."""
    for name, length in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {name}"
    return f"{seconds:.0f} s" if seconds >= 1 or seconds == 0 else "< 1 s"


def _error_text(info: SubscriptionInfo) -> str:
    attempts = f" ({info.attempts} attempts)" if info.attempts > 1 else ""
    name = f"{printable(info.subscription_name)} on {printable(info.stream_id)}"
    return f"{name}{attempts}: {one_line(info.last_error or '')}"


def act(
    store: EventStore,
    out: Output,
    action: Action,
    *,
    name: str,
    stream_id: str,
    position: int | None,
) -> None:
    """Do *action* to a subscription; its owner notices within its poll interval.

    Raises:
        RefusedError: It does not exist; the message names the streams on which one does.
    """
    try:
        done = _done(store, action, stream_id, name, position)
    except SubscriptionNotFoundError as error:
        raise RefusedError(f"{error}{_elsewhere(store, name)}") from error
    out.show(
        {"stream_id": stream_id, "subscription_name": name, "done": action},
        f"{done} {printable(name)} on {printable(stream_id)}",
    )


def _done(
    store: EventStore, action: Action, stream_id: str, name: str, position: int | None
) -> str:
    match action:
        case Action.PAUSE:
            store.pause_subscription(stream_id, name)
            return "paused"
        case Action.RESUME:
            store.resume_subscription(stream_id, name)
            return "resumed"
        case Action.RESET:
            assert position is not None, "the parser asks for it"
            store.reset_subscription(stream_id, name, position)
            return f"reset to {position}:"
        case Action.DELETE:
            store.delete_subscription(stream_id, name)
            return "deleted"
        case _:
            assert_never(action)


def _elsewhere(store: EventStore, name: str) -> str:
    """Return a hint at the streams that have a subscription *name*."""
    found = [info.stream_id for info in store.subscriptions() if info.subscription_name == name]
    return f"; there is one to {', '.join(map(repr, found[:3]))} (--stream)" if found else ""
