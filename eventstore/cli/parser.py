"""What can be typed: the commands, their arguments, and what they look like. Pure.

Loads nothing but argparse, so that ``eventstore --help`` answers at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn
from uuid import UUID

from eventstore.model.names import MAX_POSITION

__all__ = ["parse"]


_EXPECTED = {"any": -1, "no-stream": 0, "stream-exists": -2}
"""The values of `ExpectedVersion`, which would load the library."""

_ABOUT = """\
An event store on PostgreSQL, from the shell.

The database is given by --dsn or EVENTSTORE_DSN: a PostgreSQL connection string, or
embedded:PATH for a private server in a folder."""

_EXAMPLES = """\
examples:
  export EVENTSTORE_DSN=postgresql:///shop
  eventstore create && eventstore init
  eventstore append order-1 OrderPlaced '{"sku": "A-1"}' --expected-version no-stream
  eventstore read order-1
  eventstore read '$all' --json | gzip > backup.jsonl.gz
  eventstore import backup.jsonl.gz
  eventstore subscriptions pause shipping

exit codes:
  0 done   1 refused   2 wrong usage   3 database away   4 schema missing or of another version"""

_IMPORT_FORMAT = """\
Each line is a JSON object: stream_id, event_type and data; optional are metadata, event_id,
causation_id, correlation_id and created_at. What 'eventstore read --json' prints is such a file.

An import that was interrupted is simply run again: what is stored already is found by its event
id, and nothing is stored twice. A line without an event_id gets one that follows from its bytes
and from how many equal lines came before it, so an equal line of another file counts as stored,
too: lines that are to be stored again need an event_id or a created_at of their own."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of a command line.

    Raises:
        SystemExit: 2 after one line about what is wrong with it, 0 after ``--help``.
    """
    # Not by set_defaults: that would be the default of the commands' own copies, too, and what was
    # typed before the command would be lost.
    unsaid = argparse.Namespace(dsn=None, schema=None, json=False)
    return _parser().parse_args(arguments, unsaid)


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        from eventstore.cli.failures import complain

        complain(f"{message} (see {self.prog} --help)")
        raise SystemExit(2)


class _Version(argparse.Action):
    """Print the version, found out only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_rest: Any) -> NoReturn:
        from importlib.metadata import version

        print(f"eventstore {version('eventstore')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    common = _common()
    parser = _Parser(
        prog="eventstore",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = _Commands(parser, "command", common)
    _add_database(commands)
    _add_reading(commands)
    _add_writing(commands)
    _add_subscriptions(commands, common)
    return parser


def _common() -> argparse.ArgumentParser:
    """Return the options that may stand before and after the command."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("everywhere")
    group.add_argument("--dsn", help="where the store is; else EVENTSTORE_DSN")
    group.add_argument(
        "--schema", help="PostgreSQL schema of the store; else EVENTSTORE_SCHEMA, else eventstore"
    )
    group.add_argument("--json", action="store_true", help="print JSON lines")
    return common


class _Commands:
    """Adds commands that all know the common options."""

    def __init__(
        self, parser: argparse.ArgumentParser, dest: str, common: argparse.ArgumentParser
    ) -> None:
        self._parsers = parser.add_subparsers(
            dest=dest, required=True, metavar="COMMAND", title="commands"
        )
        self._common = common

    def add(self, name: str, about: str, details: str | None = None) -> argparse.ArgumentParser:
        return self._parsers.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=details,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[self._common],
            allow_abbrev=False,
        )


def _add_database(commands: _Commands) -> None:
    commands.add("create", "create the database, if it does not exist")
    commands.add("init", "install the store in its schema, if it is not there")
    commands.add("migrate", "bring the store's schema to the version of this library")
    drop = commands.add("drop", "drop the store with everything in it")
    drop.add_argument("--yes", action="store_true", help="do not ask")
    drop.add_argument(
        "--database", action="store_true", help="drop the whole database, not only the schema"
    )


def _add_reading(commands: _Commands) -> None:
    commands.add("status", "show head, streams and subscriptions")
    commands.add(
        "verify",
        "look for damage: missing or repeated positions, versions and ids, checkpoints ahead",
        "Compares every event with its neighbours as of one moment, while the store is in use.\n"
        "Prints each problem on a line and ends with 1, or one line and ends with 0.",
    )
    streams = commands.add("streams", "list the streams by id")
    streams.add_argument("--after", metavar="STREAM", help="only those that come after this id")
    streams.add_argument("--count", type=_one_or_more, metavar="N", help="at most N streams")
    read = commands.add("read", "print the events of a stream, or of all with '$all'")
    read.add_argument("stream", metavar="STREAM", help="id of a stream, or '$all'")
    read.add_argument(
        "--from",
        dest="start",
        type=_one_or_more,
        metavar="N",
        help="first version (of $all: first position) to print",
    )
    read.add_argument("--count", type=_one_or_more, metavar="N", help="at most N events")
    read.add_argument("--backward", action="store_true", help="from the newest to the oldest")
    tail = commands.add("tail", "print new events as they come, until Ctrl-C")
    tail.add_argument(
        "--from",
        dest="start",
        type=_one_or_more,
        metavar="N",
        help="first position to print; default: only what is new from now on",
    )


def _add_writing(commands: _Commands) -> None:
    append = commands.add(
        "append",
        "append events to a stream",
        "Without DATA, or with '-', each line of the standard input is the JSON data of one\n"
        "event. All of them are appended together, or none.",
    )
    append.add_argument("stream", metavar="STREAM", help="id of the stream")
    append.add_argument("event_type", metavar="TYPE", help="type of the event")
    append.add_argument("data", metavar="DATA", nargs="?", help="its payload as JSON")
    append.add_argument("--metadata", metavar="JSON", help="what goes beside the payload")
    append.add_argument(
        "--expected-version",
        type=_expected_version,
        default=_EXPECTED["any"],
        metavar="N",
        help="version the stream must be at: a number, any, no-stream or stream-exists;"
        " default: any",
    )
    append.add_argument(
        "--event-id",
        type=_uuid,
        metavar="UUID",
        help="makes a repeated append of the same event harmless",
    )
    load = commands.add("import", "append the events of a file of JSON lines", _IMPORT_FORMAT)
    load.add_argument("file", metavar="FILE", help="may be gzipped; '-' is the standard input")


def _add_subscriptions(commands: _Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add("subscriptions", "list, pause, resume, reset or delete subscriptions")
    actions = _Commands(parser, "action", common)
    listing = actions.add("list", "list the subscriptions")
    listing.add_argument("--stream", metavar="STREAM", help="only those to this stream")
    for name, about in (
        ("pause", "stop its deliveries, wherever it runs"),
        ("resume", "let it deliver again"),
        ("reset", "set its checkpoint and let it start again from there"),
        ("delete", "forget it and its checkpoint"),
    ):
        action = actions.add(name, about)
        action.add_argument("name", metavar="NAME", help="name of the subscription")
        action.add_argument(
            "--stream", metavar="STREAM", default="$all", help="the stream it is to; default: $all"
        )
        if name == "reset":
            action.add_argument(
                "--to",
                type=_zero_or_more,
                required=True,
                metavar="N",
                help="the last position that counts as acknowledged; 0: deliver everything again",
            )


def _one_or_more(text: str) -> int:
    return _number(text, least=1)


def _zero_or_more(text: str) -> int:
    return _number(text, least=0)


def _number(text: str, *, least: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) <= MAX_POSITION):
        raise argparse.ArgumentTypeError(f"must be a number, {least} or more: {text!r}")
    return int(text)


def _expected_version(text: str) -> int:
    if text in _EXPECTED:
        return _EXPECTED[text]
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= MAX_POSITION):
        raise argparse.ArgumentTypeError(
            f"must be a version (0 or more), any, no-stream or stream-exists: {text!r}"
        )
    return int(text)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a UUID: {text!r}") from None
