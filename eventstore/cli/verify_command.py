"""The command that checks a store for damage."""

from __future__ import annotations

import time
from argparse import Namespace
from contextlib import closing
from typing import TYPE_CHECKING, assert_never, cast

from eventstore import Config
from eventstore.cli.command import Command
from eventstore.cli.failures import RefusedError
from eventstore.cli.output import Output, printable
from eventstore.client.targets import storage_for

if TYPE_CHECKING:
    from eventstore.storages.postgres import PostgresStorage
    from eventstore.storages.postgres.admin.store_check import Checked, Finding

__all__ = ["VERIFY"]

_LONGEST = 7 * 24 * 3_600.0
"""Deadline of the check in seconds: a week."""


def _verify(_options: Namespace, config: Config, out: Output) -> None:
    """Print each problem of a store on a line, or that there is none.

    Raises:
        RefusedError: A problem was found.
    """
    number = 0

    def show(finding: Finding) -> None:
        nonlocal number
        number += 1
        out.show(finding, _text(finding))

    with closing(cast("PostgresStorage", storage_for(config, create=False))) as storage:
        storage.open(init=False, deadline=time.monotonic() + config.connect_timeout)
        checked = storage.verify(show, time.monotonic() + _LONGEST)
    if number:
        out.flush()
        problems = "1 problem" if number == 1 else f"{number:,} problems"
        raise RefusedError(f"{problems} in {_extent(checked)}")
    out.show({"problems": 0, **_counts(checked)}, f"no problem in {_extent(checked)}")


def _counts(checked: Checked) -> dict[str, int]:
    return {
        "events": checked.events,
        "streams": checked.streams,
        "subscriptions": checked.subscriptions,
    }


def _extent(checked: Checked) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in _counts(checked).items())


def _text(finding: Finding) -> str:
    from eventstore.storages.postgres.admin.store_check import Problem

    stream = printable(finding.stream_id)
    places = str(finding.first) if finding.first == finding.last else _range(finding)
    match finding.problem:
        case Problem.POSITIONS_MISSING:
            return f"{stream}: no event at position {places}, and no delete was recorded"
        case Problem.POSITIONS_REPEATED:
            return f"{stream}: position {places} is there more than once"
        case Problem.VERSIONS_MISSING:
            return f"{stream}: no event at version {places}"
        case Problem.VERSIONS_REPEATED:
            return f"{stream}: version {places} is there more than once"
        case Problem.ORDER_DISAGREES:
            return (
                f"{stream}: the event at version {places} has a position before its predecessor's"
            )
        case Problem.STREAM_MISSING:
            return f"{stream}: does not exist, but the event at position {places} is in it"
        case Problem.EVENT_MISSING:
            return f"{stream}: the link at version {places} is to an event that does not exist"
        case Problem.EVENT_ID_REPEATED:
            positions = f"positions {finding.first} and {finding.last}"
            return f"{stream}: the events at {positions} have the same id {finding.event_id}"
        case (
            Problem.CHECKPOINT_AHEAD
            | Problem.PARKED_EVENT_MISSING
            | Problem.PARKED_AHEAD
            | Problem.PROJECTION_SUBSCRIPTION_MISSING
            | Problem.SNAPSHOT_AHEAD
            | Problem.SNAPSHOT_STREAM_MISSING
            | Problem.SEQUENCE_BEHIND
        ):
            return _disagreement(finding)
        case _:
            assert_never(finding.problem)


def _disagreement(finding: Finding) -> str:
    """Say what does not fit together."""
    if finding.snapshot_type is not None:
        return f"{printable(finding.stream_id)}: {_snapshot_disagreement(finding)}"
    if finding.sequence is None:
        name = printable(finding.subscription_name or "")
        return (
            f"{printable(finding.stream_id)}: {_in_subscription(finding)}, in subscription {name}"
        )
    sequence = printable(finding.sequence)
    literal = sequence.replace("'", "''")
    return (
        f"{sequence}: gives {finding.first} next, but numbers up to {finding.last} are in use;"
        f" run: SELECT setval('{literal}', {finding.last})"
    )


def _in_subscription(finding: Finding) -> str:
    from eventstore.storages.postgres.admin.store_check import Problem

    if finding.problem is Problem.PROJECTION_SUBSCRIPTION_MISSING:
        return "nobody knows which events are in the tables of a projection: rebuild it or drop it"
    if finding.problem is Problem.PARKED_EVENT_MISSING:
        return f"the event parked at {finding.first} does not exist"
    if finding.problem is Problem.PARKED_AHEAD:
        return f"the event parked at {finding.first} is beyond the checkpoint {finding.last}"
    return f"checkpoint {finding.first} is beyond the head {finding.last}"


def _snapshot_disagreement(finding: Finding) -> str:
    from eventstore.storages.postgres.admin.store_check import Problem

    snapshot = f"snapshot {printable(finding.snapshot_type or '')} of version {finding.first}"
    if finding.problem is Problem.SNAPSHOT_STREAM_MISSING:
        return f"does not exist, but {snapshot} is of it"
    return f"{snapshot} is beyond the version {finding.last} of the stream"


def _range(finding: Finding) -> str:
    return f"{finding.first} to {finding.last}"


VERIFY = Command(
    name="verify",
    about="look for damage: in positions, versions, ids, checkpoints, parked events, snapshots",
    details="""\
Compares every event with its neighbours as of one moment, while the store is in use.
Also finds sequences that are behind, as after logical replication, and prints the remedy.
Prints each problem on a line and ends with 1, or one line and ends with 0.""",
    run=_verify,
)
