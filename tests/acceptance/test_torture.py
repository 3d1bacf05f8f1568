"""The short form of ``make torture``, and proof that it notices builds that are broken."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from eventstore import CallerRuntime, Config, EventStore
from tests.torture.mutations import Mutation, install_mutation
from tests.torture.plan import Fault, Kind, plan
from tests.torture.report import reasons, report
from tests.torture.stage import possible_kinds, torture
from tests.torture.verdict import Broken, verdict

SEED = 1


@pytest.mark.slow
def test_every_promise_holds_under_every_fault(tmp_path: Path) -> None:
    """G1 to G6, G9, G13 to G16, G21, G23 to G27, G32: processes, kills, a bad network."""
    evidence = torture(plan(SEED, 32.0, possible_kinds()), tmp_path, seed=SEED)

    violations = verdict(evidence)
    figures = "\n".join([*report(evidence), *reasons(violations)])
    assert not violations, figures
    assert {trouble.kind for trouble in evidence.troubles} == set(possible_kinds()), figures
    assert len(evidence.stored) > 100, figures


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
]


@pytest.mark.slow
@pytest.mark.parametrize(("mutation", "fault", "wanted"), MUTATIONS)
def test_a_broken_build_is_caught(
    mutation: Mutation, fault: Fault, wanted: set[Broken], tmp_path: Path
) -> None:
    """G3, G15, G16, G27; the others are run by ``python -m tests.torture --mutation NAME``."""
    evidence = torture([fault], tmp_path, seed=SEED, readers=2, settle=3.0, mutation=mutation)

    broken = {violation.broken for violation in verdict(evidence)}
    assert broken >= wanted, sorted(broken)


@pytest.mark.parametrize("mutation", list(Mutation))
def test_every_mutation_finds_what_it_breaks(mutation: Mutation, dsn: str, schema: str) -> None:
    EventStore.connect(Config(dsn=dsn, schema=schema), runtime=CallerRuntime, init=True).close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        install_mutation(connection, schema, mutation)
