"""Build the argument parser from the list of commands. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from eventstore.cli.command import Command
from eventstore.cli.commands import COMMANDS
from eventstore.cli.failures import complain

__all__ = ["parse"]


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


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of a command line; the option ``run`` is the command's function.

    Raises:
        SystemExit: 2 after one line that says what is wrong, 0 after ``--help``.
    """
    # set_defaults would not do: the commands have the common options, too, and their defaults would
    # overwrite what was typed before the command.
    unsaid = argparse.Namespace(dsn=None, schema=None, json=False)
    return _parser().parse_args(arguments, unsaid)


class _Parser(argparse.ArgumentParser):
    """A parser whose error messages are one line."""

    def error(self, message: str) -> NoReturn:
        complain(f"{message} (see {self.prog} --help)")
        raise SystemExit(2)


class _Version(argparse.Action):
    """Prints the version, and looks it up only then."""

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
    _add(COMMANDS, parser, common)
    return parser


def _common() -> argparse.ArgumentParser:
    """Return the options that are accepted before and after the command."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("everywhere")
    group.add_argument("--dsn", help="where the store is; else EVENTSTORE_DSN")
    group.add_argument(
        "--schema", help="PostgreSQL schema of the store; else EVENTSTORE_SCHEMA, else eventstore"
    )
    group.add_argument("--json", action="store_true", help="print JSON lines")
    return common


def _add(
    commands: Sequence[Command],
    parser: argparse.ArgumentParser,
    common: argparse.ArgumentParser,
) -> None:
    """Add *commands* to *parser*, each with the common options."""
    parsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="commands"
    )
    for command in commands:
        added = parsers.add_parser(
            command.name,
            help=command.about,
            description=f"{command.about[0].upper()}{command.about[1:]}.",
            epilog=command.details,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
            allow_abbrev=False,
        )
        command.add_arguments(added)
        added.set_defaults(run=command.run)
        if command.actions:
            _add(command.actions, added, common)
