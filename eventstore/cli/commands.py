"""From the options to the command: each is loaded when it runs."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventstore import Config, EventStore
    from eventstore.cli.output import Output

__all__ = ["run"]


def run(options: Namespace) -> None:
    """Do what was asked for."""
    from eventstore.cli.output import Output
    from eventstore.cli.store_options import configured, naming_what_is_missing

    out = Output(as_json=options.json)
    config = configured(options.dsn, options.schema)
    with naming_what_is_missing(config):
        _run(options, config, out)


def _run(options: Namespace, config: Config, out: Output) -> None:
    from eventstore.cli.store_options import opened

    match options.command:
        case "create" | "init" | "migrate" | "drop":
            _database(options, config, out)
        case "append":
            _append(options, config, out)
        case "verify":
            from eventstore.cli.verify_command import verify

            verify(config, out)
        case _:
            with opened(config) as store:
                _on_store(options, store, out)


def _database(options: Namespace, config: Config, out: Output) -> None:
    from eventstore.cli import database_commands as database

    match options.command:
        case "create":
            database.create(config, out)
        case "init":
            database.init(config, out)
        case "migrate":
            database.migrate(config, out)
        case "drop":
            database.drop(config, out, whole_database=options.database, asked=not options.yes)


def _append(options: Namespace, config: Config, out: Output) -> None:
    """Append; what is wrong with the data is said before the database is asked for."""
    from eventstore import ExpectedVersion
    from eventstore.cli.append_command import append, read_events
    from eventstore.cli.store_options import opened

    events = read_events(options.event_type, options.data, options.metadata, options.event_id)
    expected = options.expected_version
    with opened(config) as store:
        append(
            store,
            out,
            stream_id=options.stream,
            expected_version=ExpectedVersion(expected) if expected < 0 else expected,
            events=events,
        )


def _on_store(options: Namespace, store: EventStore, out: Output) -> None:
    match options.command:
        case "status":
            from eventstore.cli.read_commands import status

            status(store, out)
        case "import":
            from eventstore.cli.import_command import import_file

            import_file(store, out, file=options.file)
        case "subscriptions":
            _subscriptions(options, store, out)
        case _:
            _reading(options, store, out)


def _reading(options: Namespace, store: EventStore, out: Output) -> None:
    from eventstore.cli import read_commands as reading

    match options.command:
        case "read":
            reading.read(
                store,
                out,
                stream_id=options.stream,
                start=options.start,
                count=options.count,
                backward=options.backward,
            )
        case "tail":
            reading.tail(store, out, start=options.start)
        case "streams":
            reading.streams(store, out, after=options.after, count=options.count)


def _subscriptions(options: Namespace, store: EventStore, out: Output) -> None:
    from eventstore.cli.subscription_commands import Action, act, list_subscriptions

    if options.action == "list":
        list_subscriptions(store, out, stream_id=options.stream)
    else:
        act(
            store,
            out,
            Action(options.action),
            name=options.name,
            stream_id=options.stream,
            position=getattr(options, "to", None),
        )
