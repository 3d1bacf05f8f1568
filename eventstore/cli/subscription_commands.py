"""Commands that list and change subscriptions, wherever they run."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from eventstore import EventStore, SubscriptionInfo, SubscriptionNotFoundError
from eventstore.cli.command import Command, Run, on_store, zero_or_more
from eventstore.cli.failures import RefusedError
from eventstore.cli.output import Column, Output, one_line, printable, printable_json
from eventstore.model.names import ALL_STREAMS

__all__ = ["SUBSCRIPTIONS", "duration", "show_subscriptions"]


_COLUMNS = (
    Column("subscription"),
    Column("stream"),
    Column("state"),
    Column("checkpoint", numeric=True),
    Column("lag", numeric=True),
    Column("behind", numeric=True),
    Column("parked", numeric=True),
    Column("owner"),
)

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def _add_list_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--stream", metavar="STREAM", help="only those to this stream")


def _list(options: Namespace, store: EventStore, out: Output) -> None:
    """Print every subscription, or those to one stream."""
    infos = store.subscriptions()
    if options.stream is not None:
        infos = [info for info in infos if info.stream_id == options.stream]
    if out.as_json:
        for info in infos:
            out.json(info)
    else:
        show_subscriptions(infos, out)


def show_subscriptions(infos: Sequence[SubscriptionInfo], out: Output) -> None:
    """Print a table of subscriptions, and their last errors below it."""
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
        duration(info.lag_seconds),
        f"{info.parked:,}",
        "-" if info.owner is None else printable(info.owner),
    ]


def duration(seconds: float) -> str:
    """Return *seconds* in the largest unit that gives 2 or more."""
    for name, length in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {name}"
    return f"{seconds:.0f} s" if seconds >= 1 or seconds == 0 else "< 1 s"


def _error_text(info: SubscriptionInfo) -> str:
    attempts = f" ({info.attempts} attempts)" if info.attempts > 1 else ""
    name = f"{printable(info.subscription_name)} on {printable(info.stream_id)}"
    # The traceback below it is for `subscription_info`.
    summary = (info.last_error or "").partition("\n")[0]
    return f"{name}{attempts}: {one_line(summary)}"


def _add_action_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the subscription")
    parser.add_argument(
        "--stream", metavar="STREAM", default=ALL_STREAMS, help="the stream it is to; default: $all"
    )


def _add_reset_arguments(parser: ArgumentParser) -> None:
    _add_action_arguments(parser)
    parser.add_argument(
        "--to",
        type=zero_or_more,
        required=True,
        metavar="N",
        help="the last position that counts as acknowledged; 0: deliver everything again",
    )


def _add_delete_arguments(parser: ArgumentParser) -> None:
    _add_action_arguments(parser)
    parser.add_argument(
        "--drop-parked", action="store_true", help="also if it has parked events: they are lost"
    )


def _show(options: Namespace, store: EventStore, out: Output) -> None:
    """Print a subscription with its options and the traceback of its error."""
    info = store.subscription_info(options.stream, options.name)
    lines = [f"{title:<14}{text}" for title, text in _details(info)]
    lines += [printable(line) for line in (info.last_error or "").splitlines()]
    out.show(info, "\n".join(lines))


def _details(info: SubscriptionInfo) -> Iterator[tuple[str, str]]:
    yield "subscription", printable(info.subscription_name)
    yield "stream", printable(info.stream_id)
    yield "state", "paused" if info.paused else info.state.replace("_", " ")
    yield "owner", "-" if info.owner is None else printable(info.owner)
    yield "checkpoint", f"{info.checkpoint:,} of {info.head:,}"
    yield "lag", _with_age(info.lag_events, info.lag_seconds)
    yield "parked", _with_age(info.parked, info.parked_oldest_seconds)
    for name, value in (info.options or {}).items():
        yield name, printable_json(json.dumps(value, ensure_ascii=False))
    yield "attempts", f"{info.attempts:,}"


def _with_age(events: int, seconds: float) -> str:
    return f"{events:,}, the oldest for {duration(seconds)}" if events else "0"


Act = Callable[[EventStore, Namespace], "Done"]
"""Changes the subscription that the options name; returns what was done."""


class Done(NamedTuple):
    """What was done to a subscription."""

    text: str
    dropped: int = 0
    """Parked events that went with it."""


def _action(name: str, act: Act) -> Run:
    """Return a command's `run` that calls *act* and prints the result.

    The owner of the subscription notices within its poll interval.
    """

    def run(options: Namespace, store: EventStore, out: Output) -> None:
        done = act(store, options)
        lost = f"; parked events dropped: {done.dropped:,}" if done.dropped else ""
        out.show(
            {
                "stream_id": options.stream,
                "subscription_name": options.name,
                "done": name,
                "parked_dropped": done.dropped,
            },
            f"{done.text} {printable(options.name)} on {printable(options.stream)}{lost}",
        )

    return _of_one(run)


def _of_one(run: Callable[[Namespace, EventStore, Output], None]) -> Run:
    """Return a command's `run` for one subscription.

    A missing one is a `RefusedError` that names the streams with a subscription of that name.
    """

    def run_or_point(options: Namespace, store: EventStore, out: Output) -> None:
        try:
            run(options, store, out)
        except SubscriptionNotFoundError as error:
            raise RefusedError(f"{error}{_elsewhere(store, options.name)}") from error

    return on_store(run_or_point)


def _pause(store: EventStore, options: Namespace) -> Done:
    store.pause_subscription(options.stream, options.name)
    return Done("paused")


def _resume(store: EventStore, options: Namespace) -> Done:
    store.resume_subscription(options.stream, options.name)
    return Done("resumed")


def _reset(store: EventStore, options: Namespace) -> Done:
    dropped = store.reset_subscription(options.stream, options.name, options.to)
    return Done(f"reset to {options.to}:", dropped)


def _delete(store: EventStore, options: Namespace) -> Done:
    name, drop_parked = (options.stream, options.name), options.drop_parked
    return Done("deleted", store.delete_subscription(*name, drop_parked=drop_parked))


def _elsewhere(store: EventStore, name: str) -> str:
    """Return a hint that names the streams with a subscription *name*; empty if there is none."""
    found = [info.stream_id for info in store.subscriptions() if info.subscription_name == name]
    return f"; there is one to {', '.join(map(repr, found[:3]))} (--stream)" if found else ""


SUBSCRIPTIONS = Command(
    name="subscriptions",
    about="list, show, pause, resume, reset or delete subscriptions",
    actions=(
        Command(
            name="list",
            about="list the subscriptions",
            add_arguments=_add_list_arguments,
            run=on_store(_list),
        ),
        Command(
            name="show",
            about="show one with its options and its error",
            add_arguments=_add_action_arguments,
            run=_of_one(_show),
        ),
        Command(
            name="pause",
            about="stop its deliveries, wherever it runs",
            add_arguments=_add_action_arguments,
            run=_action("pause", _pause),
        ),
        Command(
            name="resume",
            about="let it deliver again",
            add_arguments=_add_action_arguments,
            run=_action("resume", _resume),
        ),
        Command(
            name="reset",
            about="set its checkpoint and let it start again from there",
            add_arguments=_add_reset_arguments,
            run=_action("reset", _reset),
        ),
        Command(
            name="delete",
            about="forget it and its checkpoint",
            add_arguments=_add_delete_arguments,
            run=_action("delete", _delete),
        ),
    ),
)
