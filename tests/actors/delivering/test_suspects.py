"""An event that always fails is told from a target that is away."""

from __future__ import annotations

from eventstore_actors.delivering.suspects import SUSPECTS, Suspects


def test_a_success_confirms_what_was_given_up() -> None:
    """G38."""
    suspects = Suspects()
    for key in "abcdef":
        assert suspects.may_park(key)
        suspects.parked(key)
        assert suspects.succeeded() == ()


def test_several_streams_in_a_row_are_an_outage() -> None:
    """G38: what was parked in it comes again after the first success."""
    suspects = Suspects()
    for key in "ab":
        assert suspects.may_park(key)
        suspects.parked(key)
    assert not suspects.may_park("c")
    assert not suspects.may_park("a")
    assert suspects.succeeded() == ("a", "b")
    assert suspects.may_park("c")


def test_one_stream_alone_is_no_outage() -> None:
    """G38: without the order by stream, its events are given up one after another."""
    suspects = Suspects()
    for _ in range(2 * SUSPECTS):
        assert suspects.may_park("a")
        suspects.parked("a")
