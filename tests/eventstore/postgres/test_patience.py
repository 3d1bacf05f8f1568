"""How long a pool's connect may take after those before it failed."""

from __future__ import annotations

from eventstore.storages.postgres.connecting.patience import Patience


def test_an_attempt_without_an_answer_doubles_the_time_of_the_next() -> None:
    patience = Patience(1.0, 2.5)
    times = []
    for _ in range(4):
        times.append(patience.seconds)
        patience.failed(after=patience.seconds)
    assert times == [1.0, 2.0, 2.5, 2.5]


def test_an_attempt_that_is_refused_leaves_the_time_as_it_is() -> None:
    patience = Patience(1.0, 2.5)
    patience.failed(after=0.01)
    assert patience.seconds == 1.0


def test_the_pause_grows_with_every_failure() -> None:
    """A server that is away is asked twice a second, not more."""
    patience = Patience(1.0, 2.5)
    pauses = []
    for _ in range(8):
        pauses.append(patience.pause)
        patience.failed(after=0.01)
    assert pauses == [0.0, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]


def test_a_success_starts_over() -> None:
    patience = Patience(1.0, 2.5)
    patience.failed(after=1.0)
    patience.succeeded()
    assert (patience.seconds, patience.pause) == (1.0, 0.0)
