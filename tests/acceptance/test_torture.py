"""The short form of ``make torture``, and proof that it notices builds that are broken."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from eventstore import CallerRuntime, Config, EventData, EventStore
from tests.support.waiting import wait_until
from tests.torture.audit import changes, install_audit
from tests.torture.mutations import Mutation, install_mutation
from tests.torture.plan import Fault, Kind, plan
from tests.torture.report import reasons, report
from tests.torture.server_faults import install_clock
from tests.torture.stage import possible_kinds, torture
from tests.torture.verdict import Broken, verdict

SEED = 1


@pytest.mark.slow
def test_every_promise_holds_under_every_fault(tmp_path: Path) -> None:
    """G1 to G6, G9, G13 to G16, G21, G23 to G27, G32, G35, G36, G38: kills, a bad network."""
    evidence = torture(plan(SEED, 32.0, possible_kinds()), tmp_path, seed=SEED)

    violations = verdict(evidence)
    figures = "\n".join([*report(evidence), *reasons(violations)])
    assert not violations, figures
    assert {trouble.kind for trouble in evidence.troubles} == set(possible_kinds()), figures
    assert len(evidence.stored) > 100, figures
    assert any(event.replay for event in evidence.handled), figures


_LONG = Fault(6.0, Kind.CUT_LISTENERS, 0.0, 0.0)
"""Leaves time for a few deletions, on a machine that does nothing else."""

# The first runtime owns something after two seconds, and is frozen for twice its lease.
MUTATIONS = [
    (
        Mutation.UNLOCKED_SEQUENCE,
        Fault(1.0, Kind.CUT_LISTENERS, 0.0, 0.0),
        {Broken.HOLE, Broken.DISORDER},
    ),
    (Mutation.UNFENCED_CHECKPOINT, Fault(2.0, Kind.FREEZE_RUNTIME, 3.0, 0.0), {Broken.TWO_OWNERS}),
    (Mutation.EAGER_CHECKPOINT, Fault(1.0, Kind.KILL_RUNTIME, 0.0, 0.0), {Broken.UNACKNOWLEDGED}),
    (Mutation.SLUGGISH_TAKEOVER, Fault(2.0, Kind.KILL_RUNTIME, 0.0, 0.0), {Broken.LATE_TAKEOVER}),
    (Mutation.REUSED_POSITION, _LONG, {Broken.DAMAGE}),
    (Mutation.REUSED_VERSION, _LONG, {Broken.RUIN}),
    (Mutation.KEPT_CHECKPOINT, _LONG, {Broken.UNDELIVERED}),
    (Mutation.OLDER_SNAPSHOT, _LONG, {Broken.SNAPSHOT}),
    (Mutation.PARK_WITHOUT_ORDER, _LONG, {Broken.OVERTAKEN}),
    (Mutation.PARKED_FORGOTTEN, _LONG, {Broken.PARKED}),
    (Mutation.RETRY_IN_VAIN, _LONG, {Broken.PARKED}),
    # Who is paused gets afterwards what was deleted meanwhile.
    (Mutation.SLOW_DELETION, Fault(1.0, Kind.PAUSE, 8.0, 0.0), {Broken.DELIVERED_LATE}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("mutation", "fault", "wanted"), MUTATIONS)
def test_a_broken_build_is_caught(
    mutation: Mutation, fault: Fault, wanted: set[Broken], tmp_path: Path
) -> None:
    """G3, G13, G15, G16, G27, G35, G36, G38; ``python -m tests.torture --mutation`` runs any."""
    broken: set[Broken] = set()
    # How much happens in a second is a matter of the machine, and what did not happen is not seen.
    for longer in (1, 3, 9):
        folder = tmp_path / str(longer)
        folder.mkdir()
        waits = replace(fault, at=longer * fault.at, seconds=longer * fault.seconds)
        evidence = torture([waits], folder, seed=SEED, readers=2, settle=3.0, mutation=mutation)
        broken = {violation.broken for violation in verdict(evidence)}
        if broken >= wanted:
            break
    assert broken >= wanted, sorted(broken)


@pytest.mark.parametrize("mutation", list(Mutation))
def test_every_mutation_finds_what_it_breaks(mutation: Mutation, dsn: str, schema: str) -> None:
    EventStore.connect(Config(dsn=dsn, schema=schema), runtime=CallerRuntime, init=True).close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        install_mutation(connection, schema, mutation)


def test_what_the_audit_notes_is_timed_by_the_real_clock(dsn: str, schema: str) -> None:
    """A takeover is judged by it, also one after the clock of the leases was set back."""
    EventStore.connect(Config(dsn=dsn, schema=schema), runtime=CallerRuntime, init=True).close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        install_audit(connection, schema)
        install_clock(connection, schema)
        began = time.monotonic()
        for name in ("before", "after"):
            with EventStore.connect(Config(dsn=dsn, schema=schema)) as store:
                store.append_to_stream(name, 0, [EventData("X", 1)])
                handle = store.subscribe_to_stream(name, name, lambda events: None)
                wait_until(lambda handle=handle: handle.checkpoint == 1)  # type: ignore[misc]
            connection.execute(f"UPDATE {schema}_clock.set_back SET seconds = seconds + 3600")
        found = changes(connection, schema)
        for extra in ("audit", "clock"):
            connection.execute(f"DROP SCHEMA {schema}_{extra} CASCADE")
    assert {change.name for change in found} == {"before", "after"}
    assert all(began - 1 < change.at < time.monotonic() + 1 for change in found), found
