"""The short form of ``make torture``, and proof that it notices builds that are broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.mutations import FAULTS, Mutation
from tests.torture.plan import Kind, plan
from tests.torture.report import reasons, report
from tests.torture.stage import torture
from tests.torture.verdict import Broken, verdict

SEED = 1


@pytest.mark.slow
def test_every_promise_holds_under_every_fault(tmp_path: Path) -> None:
    """G1 to G6, G9, G13 to G16, G21, G23 to G27, G32: processes, kills, a bad network."""
    outcome = torture(plan(SEED, seconds=15), tmp_path, seed=SEED)

    violations = verdict(outcome.evidence)
    figures = "\n".join([*report(outcome.evidence, outcome.faults), *reasons(violations)])
    assert not violations, figures
    assert outcome.faults.keys() == set(Kind), figures
    assert len(outcome.evidence.stored) > 1_000, figures


CAUGHT_AS = {
    Mutation.UNLOCKED_SEQUENCE: {Broken.HOLE, Broken.DISORDER},
    Mutation.UNFENCED_CHECKPOINT: {Broken.TWO_OWNERS},
    Mutation.EAGER_CHECKPOINT: {Broken.UNACKNOWLEDGED},
}


@pytest.mark.slow
@pytest.mark.parametrize("mutation", CAUGHT_AS)
def test_a_broken_build_is_caught(mutation: Mutation, tmp_path: Path) -> None:
    """G3, G15, G16; the others are run by ``python -m tests.torture --mutation NAME``."""
    faults = plan(SEED, 1.0, FAULTS[mutation])
    outcome = torture(faults, tmp_path, seed=SEED, readers=2, settle=2.0, mutation=mutation)

    broken = {violation.broken for violation in verdict(outcome.evidence)}
    assert broken >= CAUGHT_AS[mutation]
