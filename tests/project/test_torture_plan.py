"""The schedule of a torture can be run again, and leaves nothing out."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from tests.torture.plan import ALL_KINDS, NETWORK, Kind, plan


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert plan(7, 60) == plan(7, 60)
    assert plan(7, 60) != plan(8, 60)


@pytest.mark.parametrize("seed", range(20))
def test_a_longer_schedule_begins_like_a_shorter_one(seed: int) -> None:
    short = plan(seed, 20)
    assert plan(seed, 60)[: len(short)] == short


@pytest.mark.parametrize("seed", range(20))
def test_five_minutes_bring_200_faults_of_every_kind(seed: int) -> None:
    faults = plan(seed, 300)
    kinds = Counter(fault.kind for fault in faults)
    assert len(faults) >= 200
    assert kinds.keys() == set(Kind)
    assert max(kinds.values()) - min(kinds.values()) <= 1


@pytest.mark.parametrize("seed", range(20))
def test_faults_come_in_order_and_the_network_is_bad_in_one_way_at_a_time(seed: int) -> None:
    faults = plan(seed, 300)
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    for before, after in pairwise(fault for fault in faults if fault.kind in NETWORK):
        assert before.at + before.seconds <= after.at


def test_only_the_kinds_that_are_asked_for_are_drawn() -> None:
    faults = plan(1, 30, (Kind.PAUSE, Kind.DELAY))
    assert {fault.kind for fault in faults} == {Kind.PAUSE, Kind.DELAY}
    assert all(0 <= fault.dice < 1 for fault in faults)


def test_a_frozen_runtime_outlives_its_lease() -> None:
    from tests.torture.stage import LEASE

    freezes = [f.seconds for f in plan(1, 300, ALL_KINDS) if f.kind is Kind.FREEZE_RUNTIME]
    assert min(freezes) > LEASE
