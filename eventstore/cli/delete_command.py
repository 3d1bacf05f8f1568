"""The command that deletes a stream."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from eventstore import Config
from eventstore.cli.command import Command, expected_version
from eventstore.cli.consent import ask, check_can_ask
from eventstore.cli.failures import UsageError
from eventstore.cli.output import Output, printable
from eventstore.cli.store_options import opened

__all__ = ["DELETE"]


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("stream", metavar="STREAM", help="id of the stream")
    parser.add_argument(
        "--expected-version",
        type=expected_version,
        required=True,
        metavar="N",
        help="version the stream must be at: a number, any or stream-exists",
    )
    parser.add_argument(
        "--hard", action="store_true", help="delete its events, too, and every link to them"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before a hard delete")


def _delete(options: Namespace, config: Config, out: Output) -> None:
    """Delete a stream.

    Raises:
        UsageError: A hard delete is not enabled, or nobody can be asked.
        RefusedError: The user answered no.
    """
    if options.hard and not config.enable_hard_deletes:
        raise UsageError("--hard needs EVENTSTORE_ENABLE_HARD_DELETES=true in the environment")
    asked = options.hard and not options.yes
    if asked:
        check_can_ask("delete --hard")
    with opened(config, creates=False) as store:
        version = store.stream_info(options.stream).stream_version
        name = printable(options.stream)
        if asked:
            ask(f"Delete {name} for good, with the events of {version:,} versions?")
        store.delete_stream(options.stream, options.expected_version, hard=options.hard)
        done = "deleted for good" if options.hard else "deleted"
        out.show({"stream_id": options.stream, "version": version, "done": done}, f"{done} {name}")


DELETE = Command(
    name="delete",
    about="delete a stream",
    details="""\
A deleted stream can be neither read nor appended to; its events stay in $all and where
they are linked. With --hard they are erased everywhere, and the name is free.""",
    add_arguments=_add_arguments,
    run=_delete,
)
