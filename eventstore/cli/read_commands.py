"""Commands that print events, streams and the status of the store."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from eventstore import EventStore, RecordedEvent, SerializationError, StreamInfo
from eventstore.cli.command import Command, event_id, on_store, one_or_more
from eventstore.cli.failures import RefusedError
from eventstore.cli.output import Output, event_text, printable
from eventstore.cli.subscription_commands import show_subscriptions
from eventstore.model.dsn import masked
from eventstore.model.event_filter import FilterKeywords
from eventstore.model.names import ALL_STREAMS
from eventstore.model.stream_listing import StreamOrder

__all__ = ["FIND", "READ", "STATUS", "STREAMS", "TAIL"]


def _status(_options: Namespace, store: EventStore, out: Output) -> None:
    """Print the place of the store, its contents, and the progress of its subscriptions."""
    head = store.stream_info(ALL_STREAMS).stream_version
    streams = store.stream_count()
    infos = store.subscriptions()
    config = store.config
    if out.as_json:
        out.json(
            {
                "dsn": masked(config.dsn),
                "schema": config.schema,
                "head": head,
                "streams": streams,
                "subscriptions": infos,
            }
        )
        return
    print(f"database  {printable(masked(config.dsn))}")
    print(f"schema    {printable(config.schema)}")
    print(f"head      {head:,}")
    print(f"streams   {streams:,}")
    print()
    show_subscriptions(infos, out)


_PAGE = 1_000
_POLL_SECONDS = 0.2
_VERSION_WIDTH = 8


def _add_read_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("stream", metavar="STREAM", help="id of a stream, or '$all'")
    parser.add_argument(
        "--from",
        dest="start",
        type=one_or_more,
        metavar="N",
        help="first version (of $all: first position) to print",
    )
    parser.add_argument("--count", type=one_or_more, metavar="N", help="at most N events")
    parser.add_argument("--backward", action="store_true", help="from the newest to the oldest")
    parser.add_argument(
        "--type",
        dest="event_types",
        action="append",
        metavar="TYPE",
        help="only events of this type; given more than once, of any of them",
    )
    parser.add_argument(
        "--prefix",
        dest="stream_prefix",
        metavar="TEXT",
        help="only events of streams whose id begins so",
    )
    _add_raw(parser)
    _add_full(parser)


def _add_raw(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--raw",
        action="store_true",
        help="print payloads as they are stored, whatever wrote them; with --json in base64",
    )


def _add_full(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--full", action="store_true", help="print whole payloads, though the terminal is narrower"
    )


def _read(options: Namespace, store: EventStore, out: Output) -> None:
    """Print the events of a stream, or of all streams, with one page in memory.

    Raises:
        RefusedError: An event cannot be read. Those before it are printed.
    """
    page = min(options.count or _PAGE, _PAGE)
    with _pointing_to_raw():
        for event in islice(_events(store, options, page), options.count):
            # A linked event is shown with its own stream.
            _show(out, event, with_stream=event.stream_id != options.stream, full=options.full)


@contextmanager
def _pointing_to_raw() -> Iterator[None]:
    """Say with an event that cannot be read what prints it."""
    try:
        yield
    except SerializationError as error:
        raise RefusedError(f"{error}; --raw prints it as it is stored") from error


def _events(store: EventStore, options: Namespace, page: int) -> Iterator[RecordedEvent]:
    stream_id, start, raw = options.stream, options.start, options.raw
    only = FilterKeywords(event_types=options.event_types, stream_prefix=options.stream_prefix)
    if stream_id == ALL_STREAMS:
        if options.backward:
            return store.stream_all_backward(start or -1, batch_size=page, raw=raw, **only)
        return store.stream_all_forward(start or 1, batch_size=page, raw=raw, **only)
    if options.backward:
        return store.stream_backward(stream_id, start or -1, batch_size=page, raw=raw, **only)
    return store.stream_forward(stream_id, start or 1, batch_size=page, raw=raw, **only)


def _add_tail_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="start",
        type=one_or_more,
        metavar="N",
        help="first position to print; default: only what is new from now on",
    )
    _add_full(parser)


def _tail(options: Namespace, store: EventStore, out: Output) -> None:
    """Print events until Ctrl-C: from a position on, or those yet to come."""
    try:
        _follow(store, out, options)
    except KeyboardInterrupt:
        out.flush()


def _follow(store: EventStore, out: Output, options: Namespace) -> None:
    position = options.start or store.stream_info(ALL_STREAMS).stream_version + 1
    if sys.stderr.isatty():
        print(f"events from position {position} on; Ctrl-C ends", file=sys.stderr)
    while True:
        for event in store.stream_all_forward(position):
            _show(out, event, with_stream=True, full=options.full)
            position = event.global_position + 1
        out.flush()
        time.sleep(_POLL_SECONDS)


def _show(out: Output, event: RecordedEvent, *, with_stream: bool, full: bool) -> None:
    if out.as_json:
        out.json(event)
        return
    width = None if full else out.width
    print(event_text(event, with_stream=with_stream, width=width, in_colour=out.in_colour))


def _add_streams_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--prefix", metavar="TEXT", default="", help="only ids that begin so")
    parser.add_argument("--search", metavar="TEXT", default="", help="only ids that contain this")
    parser.add_argument(
        "--order",
        choices=[str(order) for order in StreamOrder],
        default=str(StreamOrder.STREAM_ID),
        help="by id, or as they were created; default: by id",
    )
    parser.add_argument("--descending", action="store_true", help="turn the order round")
    parser.add_argument("--after", metavar="STREAM", help="only those that come after this stream")
    parser.add_argument("--count", type=one_or_more, metavar="N", help="at most N streams")


def _streams(options: Namespace, store: EventStore, out: Output) -> None:
    """Print streams in order, with one page in memory."""
    page = min(options.count or _PAGE, _PAGE)
    for info in islice(_listed(store, options, page), options.count):
        out.show(info, _stream_text(info))


def _listed(store: EventStore, options: Namespace, page: int) -> Iterator[StreamInfo]:
    after = options.after
    while infos := store.streams(
        after,
        page,
        prefix=options.prefix,
        search=options.search,
        order=options.order,
        descending=options.descending,
    ):
        yield from infos
        if len(infos) < page:
            return
        after = infos[-1].stream_id


def _stream_text(info: StreamInfo) -> str:
    assert info.created_at is not None, "only $all has no time of creation"
    deleted = "" if info.deleted_at is None else f"  deleted {info.deleted_at:%Y-%m-%d %H:%M:%SZ}"
    return (
        f"{info.stream_version:>{_VERSION_WIDTH}}  {info.created_at:%Y-%m-%d %H:%M:%SZ}"
        f"  {printable(info.stream_id)}{deleted}"
    )


def _add_find_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("event_id", type=event_id, metavar="UUID", help="id of the event")
    _add_raw(parser)
    _add_full(parser)


def _find(options: Namespace, store: EventStore, out: Output) -> None:
    """Print the event with an id, and where it is.

    Raises:
        RefusedError: There is none, or it cannot be read.
    """
    with _pointing_to_raw():
        found = store.find_event(options.event_id, raw=options.raw)
    if found is None:
        raise RefusedError(f"no event has the id {options.event_id}")
    _show(out, found, with_stream=True, full=options.full)


STATUS = Command(name="status", about="show head, streams and subscriptions", run=on_store(_status))
STREAMS = Command(
    name="streams",
    about="list the streams, all or some",
    add_arguments=_add_streams_arguments,
    run=on_store(_streams),
)
READ = Command(
    name="read",
    about="print the events of a stream, or of all with '$all'",
    add_arguments=_add_read_arguments,
    run=on_store(_read),
)
TAIL = Command(
    name="tail",
    about="print new events as they come, until Ctrl-C",
    add_arguments=_add_tail_arguments,
    run=on_store(_tail),
)
FIND = Command(
    name="find",
    about="print the event with an id",
    add_arguments=_add_find_arguments,
    run=on_store(_find),
)
