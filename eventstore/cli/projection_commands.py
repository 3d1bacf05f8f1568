"""Commands that list and change the versions of projections, wherever they run."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

from eventstore import (
    CallerRuntime,
    EventStore,
    Projection,
    ProjectionInfo,
    ProjectionNotFoundError,
)
from eventstore.cli.command import Command, on_store
from eventstore.cli.consent import ask, check_can_ask
from eventstore.cli.failures import UsageError
from eventstore.cli.output import Column, Output, one_line, printable
from eventstore.cli.own_code import loaded
from eventstore.cli.subscription_commands import duration
from eventstore.model.checks import SHORTEST
from eventstore.model.projection import subscription_of

__all__ = ["PROJECTIONS"]

_COLUMNS = (
    Column("projection"),
    Column("current"),
    Column("state"),
    Column("position", numeric=True),
    Column("lag", numeric=True),
    Column("owner"),
)

_PACE = (Column("rate", numeric=True), Column("left", numeric=True))
"""Columns of a list that has looked twice."""

_NAMED = re.compile(r"(.+)@([0-9]{1,10})", re.DOTALL)
"""A version by its name: no module and attribute end like this."""


def _add_list_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--over",
        type=_seconds,
        metavar="SECONDS",
        help="look twice, so far apart, and print rate and time left; default: look once",
    )


def _seconds(text: str) -> float:
    seconds = float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", text) else 0.0
    if seconds < SHORTEST:
        raise ArgumentTypeError(f"must be seconds, {SHORTEST} or more: {text!r}")
    return seconds


def _list(options: Namespace, store: EventStore, out: Output) -> None:
    """Print every version of every projection."""
    infos = store.projections(options.over)
    if out.as_json:
        for info in infos:
            out.json(info)
        return
    if not infos:
        print("no projections")
        return
    columns = (*_COLUMNS[:-1], *_PACE, _COLUMNS[-1]) if options.over else _COLUMNS
    out.table(columns, [_row(info, with_pace=bool(options.over)) for info in infos])
    for info in infos:
        if (line := _trouble(info)) is not None:
            print(f"{printable(subscription_of(info.name, info.version))}: {line}")


def _row(info: ProjectionInfo, *, with_pace: bool) -> list[str]:
    return [
        printable(subscription_of(info.name, info.version)),
        "yes" if info.is_current else "no",
        "paused" if info.paused else (info.state or "unknown").replace("_", " "),
        f"{info.position:,}",
        f"{info.lag_events:,}",
        *(_pace(info) if with_pace else ()),
        "-" if info.owner is None else printable(info.owner),
    ]


def _pace(info: ProjectionInfo) -> list[str]:
    if not info.lag_events:
        return ["-" if info.rate is None else f"{info.rate:,.0f}/s", "-"]
    if not info.rate:
        return ["-", "-"]
    return [f"{info.rate:,.0f}/s", duration(info.lag_events / info.rate)]


def _trouble(info: ProjectionInfo) -> str | None:
    if info.state is None:
        return "its subscription was deleted, so its tables are stale: rebuild it or drop it"
    if info.last_error is None:
        return None
    # The traceback below it is for `subscriptions show`.
    return one_line(info.last_error.partition("\n")[0])


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "projection",
        metavar="MODULE:ATTRIBUTE",
        help="the Projection in your code, as shop.projections:totals_v2",
    )


def _add_switch_arguments(parser: ArgumentParser) -> None:
    _add_arguments(parser)
    parser.add_argument("--force", action="store_true", help="also if it is behind")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=5.0,
        metavar="SECONDS",
        help="wait so long until it has caught up; default: 5",
    )


def _add_rebuild_arguments(parser: ArgumentParser) -> None:
    _add_arguments(parser)
    _add_consent(parser)


def _add_drop_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "projection",
        metavar="PROJECTION",
        help="MODULE:ATTRIBUTE in your code, or NAME@VERSION, whose tables then stay",
    )
    _add_consent(parser)


def _add_consent(parser: ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="also if it is the current version")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _switch(options: Namespace, store: EventStore, out: Output) -> None:
    """Make a version the current one."""
    projection = _from_code("switch", options.projection)
    waiting = {"force": options.force, "timeout": options.timeout}
    _change(store, "switch_projection", (projection,), waiting)
    _tell("switch", f"switched to {_name(projection)}", projection.name, projection.version, out)


def _rebuild(options: Namespace, store: EventStore, out: Output) -> None:
    """Have a version handle everything again."""
    projection = _from_code("rebuild", options.projection)
    _check_there(store, projection.name, projection.version)
    _agree("rebuild", f"Empty the tables of {_name(projection)} and begin again?", options)
    _change(store, "rebuild_projection", (projection,), {"force": options.force})
    _tell("rebuild", f"rebuilding {_name(projection)}", projection.name, projection.version, out)


def _drop(options: Namespace, store: EventStore, out: Output) -> None:
    """Forget a version, with its tables if its code is given."""
    named = _NAMED.fullmatch(options.projection)
    if named is None:
        projection = loaded(options.projection, Projection)
        which: tuple[Any, ...] = (projection,)
        name, version = projection.name, projection.version
    else:
        which = name, version = named[1], int(named[2])
    _check_there(store, name, version)
    shown = printable(subscription_of(name, version))
    drops = named is None and projection.drop is not None
    tables = "with its tables" if drops else "and leave its tables"
    _agree("drop", f"Drop {shown} {tables}?", options)
    _change(store, "drop_projection", which, {"force": options.force})
    left = "" if drops else "; its tables are left"
    _tell("drop", f"dropped {shown}{left}", name, version, out)


def _from_code(action: str, place: str) -> Projection:
    if _NAMED.fullmatch(place):
        raise UsageError(
            f"projections {action} calls functions of yours, so it needs MODULE:ATTRIBUTE, a"
            f" Projection in your code: {place!r}"
        )
    projection: Projection = loaded(place, Projection)
    return projection


def _name(projection: Projection) -> str:
    return printable(projection.subscription_name)


def _check_there(store: EventStore, name: str, version: int) -> None:
    """Return if the version exists: nobody is asked about one that does not."""
    if all((info.name, info.version) != (name, version) for info in store.projections()):
        raise ProjectionNotFoundError(name, version)


def _agree(action: str, question: str, options: Namespace) -> None:
    if not options.yes:
        check_can_ask(f"projections {action}")
        ask(question)


def _change(
    store: EventStore, method: str, which: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """Call a method of the store, or of one for coroutines if the functions are some."""
    if not (isinstance(which[0], Projection) and which[0].is_for_loops):
        getattr(store, method)(*which, **options)
        return
    import asyncio

    from eventstore import AsyncEventStore

    async def change() -> None:
        async with AsyncEventStore.connect(store.config, runtime=CallerRuntime) as on_loop:
            await getattr(on_loop, method)(*which, **options)

    asyncio.run(change())


def _tell(action: str, done: str, name: str, version: int, out: Output) -> None:
    out.show({"name": name, "version": version, "done": action}, done)


PROJECTIONS = Command(
    name="projections",
    about="list, switch, rebuild or drop the versions of projections",
    actions=(
        Command(
            name="list",
            about="list them with their progress",
            add_arguments=_add_list_arguments,
            run=on_store(_list),
        ),
        Command(
            name="switch",
            about="make a version the current one, once it has caught up",
            details="Projection.switch is called, and the change recorded, in one transaction.",
            add_arguments=_add_switch_arguments,
            run=on_store(_switch),
        ),
        Command(
            name="rebuild",
            about="empty its tables and have it handle everything again",
            details="""\
Projection.drop and Projection.create are called, and its subscription is set back, in one
transaction. The process that runs it goes on from there.""",
            add_arguments=_add_rebuild_arguments,
            run=on_store(_rebuild),
        ),
        Command(
            name="drop",
            about="forget it, and end its subscription",
            details="""\
With its code Projection.drop is called in the same transaction; by its name the tables stay.
Take it out of the code of every service first: they would create it again.""",
            add_arguments=_add_drop_arguments,
            run=on_store(_drop),
        ),
    ),
)
