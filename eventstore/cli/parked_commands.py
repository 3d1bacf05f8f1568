"""Commands for the events that a subscription has put aside."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from eventstore import EventStore, ParkedEvent
from eventstore.cli.command import Command, on_store, one_or_more, zero_or_more
from eventstore.cli.consent import ask, check_can_ask
from eventstore.cli.failures import RefusedError
from eventstore.cli.output import Column, Output, one_line, printable
from eventstore.model.names import ALL_STREAMS

__all__ = ["PARKED"]

_COLUMNS = (
    Column("position", numeric=True),
    Column("stream"),
    Column("attempts", numeric=True),
    Column("parked"),
    Column("reason"),
)

_REASON = 200
"""Characters of a reason in the list."""


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the subscription")
    parser.add_argument(
        "--stream", metavar="STREAM", default=ALL_STREAMS, help="the stream it is to; default: $all"
    )


def _add_list_arguments(parser: ArgumentParser) -> None:
    _add_arguments(parser)
    parser.add_argument(
        "--after",
        type=zero_or_more,
        default=0,
        metavar="N",
        help="only those after this position; default: 0",
    )
    parser.add_argument(
        "--limit", type=one_or_more, default=100, metavar="N", help="at most so many; default: 100"
    )


def _list(options: Namespace, store: EventStore, out: Output) -> None:
    """Print parked events, by position."""
    events = store.parked(options.stream, options.name, options.after, min(options.limit, 10_000))
    if out.as_json:
        for event in events:
            out.json(event)
    elif events:
        out.table(_COLUMNS, [_row(event) for event in events])
    else:
        print("no parked events")


def _row(event: ParkedEvent) -> list[str]:
    reason = one_line(event.reason)
    return [
        f"{event.position:,}",
        printable(event.key),
        f"{event.attempts:,}",
        f"{event.parked_at:%Y-%m-%d %H:%M:%SZ}",
        reason if len(reason) <= _REASON else f"{reason[:_REASON]}…",
    ]


def _add_show_arguments(parser: ArgumentParser) -> None:
    _add_arguments(parser)
    parser.add_argument("position", metavar="POSITION", type=one_or_more, help="of the event")


def _show(options: Namespace, store: EventStore, out: Output) -> None:
    """Print a parked event with its error.

    Raises:
        RefusedError: No event is parked there.
    """
    found = store.parked(options.stream, options.name, options.position - 1, 1)
    if not found or found[0].position != options.position:
        raise RefusedError(f"no event is parked at position {options.position}")
    [event] = found
    lines = [
        f"position  {event.position}",
        f"stream    {printable(event.key)}",
        f"attempts  {event.attempts}",
        f"parked    {event.parked_at:%Y-%m-%d %H:%M:%SZ}",
        f"reason    {one_line(event.reason)}",
        *(printable(line) for line in (event.error or "").splitlines()),
    ]
    out.show(event, "\n".join(lines))


def _add_choice_arguments(parser: ArgumentParser) -> None:
    _add_arguments(parser)
    parser.add_argument("--key", metavar="STREAM", help="only the events of this stream")
    parser.add_argument("--limit", type=one_or_more, metavar="N", help="only the N oldest ones")
    parser.add_argument("--dry-run", action="store_true", help="change nothing, tell the number")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _add_skip_arguments(parser: ArgumentParser) -> None:
    _add_choice_arguments(parser)
    parser.add_argument("--reason", required=True, metavar="TEXT", help="is stored with them")


def _retry(options: Namespace, store: EventStore, out: Output) -> None:
    """Have parked events delivered again."""
    _check_asking("parked retry", options)
    name = (options.stream, options.name, options.key)
    found = store.retry_parked(*name, limit=options.limit, dry_run=True)
    if not options.dry_run and found:
        _ask(options, f"Deliver parked events again: {found:,}?")
        found = store.retry_parked(*name, limit=options.limit)
    _tell("retry", "to be delivered again", found, options, out)


def _skip(options: Namespace, store: EventStore, out: Output) -> None:
    """Give parked events up for good."""
    _check_asking("parked skip", options)
    name = (options.stream, options.name, options.key)
    chosen = {"reason": options.reason, "limit": options.limit}
    found = store.skip_parked(*name, **chosen, dry_run=True)
    if not options.dry_run and found:
        _ask(options, f"Skip parked events for good: {found:,}?")
        found = store.skip_parked(*name, **chosen)
    _tell("skip", "skipped", found, options, out)


def _check_asking(command: str, options: Namespace) -> None:
    if not (options.yes or options.dry_run):
        check_can_ask(command)


def _ask(options: Namespace, question: str) -> None:
    if not options.yes:
        ask(question)


def _tell(action: str, done: str, events: int, options: Namespace, out: Output) -> None:
    out.show(
        {
            "stream_id": options.stream,
            "subscription_name": options.name,
            "done": None if options.dry_run else action,
            "events": events,
        },
        f"parked events {'chosen' if options.dry_run else done}: {events:,}",
    )


PARKED = Command(
    name="parked",
    about="list, show, retry or skip the events that a subscription has put aside",
    actions=(
        Command(
            name="list",
            about="list them by position",
            add_arguments=_add_list_arguments,
            run=on_store(_list),
        ),
        Command(
            name="show",
            about="show one with its error",
            add_arguments=_add_show_arguments,
            run=on_store(_show),
        ),
        Command(
            name="retry",
            about="have them delivered again, in the order of their stream",
            details="""\
The owner of the subscription delivers them before it goes on with new events; without an
owner, the next one does. An event that fails again stays parked, and so do those after it.""",
            add_arguments=_add_choice_arguments,
            run=on_store(_retry),
        ),
        Command(
            name="skip",
            about="give them up for good",
            add_arguments=_add_skip_arguments,
            run=on_store(_skip),
        ),
    ),
)
