"""The command that shows a store at one glance."""

from __future__ import annotations

from eventstore import EventStore
from eventstore.cli.output import Output
from eventstore.cli.subscription_commands import show_subscriptions
from eventstore.cli.text import printable
from eventstore.model.config import masked
from eventstore.model.names import ALL_STREAMS

__all__ = ["status"]


def status(store: EventStore, out: Output) -> None:
    """Print where the store is, what is in it, and how far its subscriptions are."""
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
