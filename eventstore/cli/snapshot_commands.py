"""Commands that print and delete snapshots."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from eventstore import EventStore
from eventstore.cli.command import Command, on_store
from eventstore.cli.failures import RefusedError
from eventstore.cli.output import Output, printable

__all__ = ["SNAPSHOTS"]


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("stream", metavar="STREAM", help="id of the stream")
    parser.add_argument("type", metavar="TYPE", help="type of the snapshot")


def _add_read_arguments(parser: ArgumentParser) -> None:
    _add_arguments(parser)
    parser.add_argument(
        "--raw",
        action="store_true",
        help="print payloads as they are stored, whatever wrote them, in base64",
    )


def _read(options: Namespace, store: EventStore, out: Output) -> None:
    """Print a snapshot as a line of JSON.

    Raises:
        RefusedError: There is none, or it cannot be read.
    """
    found = store.read_snapshot(options.stream, options.type, raw=options.raw)
    if found is None:
        stored = not options.raw and store.read_snapshot(options.stream, options.type, raw=True)
        raise RefusedError(_unreadable(options) if stored else _missing(options))
    out.json(found)


def _delete(options: Namespace, store: EventStore, out: Output) -> None:
    """Delete a snapshot.

    Raises:
        RefusedError: There is none.
    """
    if not store.delete_snapshot(options.stream, options.type):
        raise RefusedError(_missing(options))
    out.show(
        {"stream_id": options.stream, "snapshot_type": options.type, "done": "delete"},
        f"deleted {printable(options.type)} of {printable(options.stream)}",
    )


def _missing(options: Namespace) -> str:
    return f"stream {options.stream!r} has no snapshot of type {options.type!r}"


def _unreadable(options: Namespace) -> str:
    return (
        f"the snapshot of type {options.type!r} of stream {options.stream!r} cannot be read here;"
        " --raw prints it as it is stored"
    )


SNAPSHOTS = Command(
    name="snapshots",
    about="print or delete snapshots",
    actions=(
        Command(
            name="read",
            about="print one as JSON",
            add_arguments=_add_read_arguments,
            run=on_store(_read),
        ),
        Command(
            name="delete",
            about="delete one; the events stay",
            add_arguments=_add_arguments,
            run=on_store(_delete),
        ),
    ),
)
