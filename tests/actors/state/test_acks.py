"""One message tells of all acknowledgements until it is read, and none is lost."""

from __future__ import annotations

import queue
import threading

from eventstore_actors.state.acks import Ack, Acks

FIRST = (1, 1)


def test_only_the_first_has_to_be_told() -> None:
    acks = Acks()

    assert [acks.add((1, position)) for position in (1, 2, 3)] == [True, False, False]


def test_what_was_told_is_read_as_the_newest() -> None:
    """G19: acknowledging is cumulative."""
    acks = Acks()
    for position in (1, 3, 2):
        acks.add((1, position))

    assert acks.take(FIRST) == (1, 3)


def test_what_comes_after_the_reading_is_told_again() -> None:
    acks = Acks()
    acks.add(FIRST)
    acks.take(FIRST)

    assert acks.add((1, 2))
    assert acks.take((1, 2)) == (1, 2)


def test_a_newer_run_counts_whatever_its_position() -> None:
    """G14, G16: after a redelivery positions start again."""
    acks = Acks()
    for ack in ((1, 9), (2, 3), (1, 10)):
        acks.add(ack)

    assert acks.take((1, 9)) == (2, 3)


def test_what_is_told_without_being_noted_counts_as_it_is() -> None:
    assert Acks().take((1, 7)) == (1, 7)


def test_what_a_dead_actor_was_told_is_told_again() -> None:
    """G24."""
    acks = Acks()
    acks.add(FIRST)
    acks.clear()

    assert acks.add(FIRST)


def test_whoever_acknowledges_meanwhile_the_highest_is_heard_in_the_end() -> None:
    """G15: from any thread."""
    acks, told, heard = Acks(), queue.SimpleQueue[Ack | None](), [0]

    def acknowledge(every: int) -> None:
        for position in range(every, 3_000, 3):
            if acks.add((1, position)):
                told.put((1, position))

    def hear() -> None:
        while (ack := told.get()) is not None:
            heard.append(acks.take(ack)[1])

    callers = [threading.Thread(target=acknowledge, args=(n,)) for n in range(3)]
    actor = threading.Thread(target=hear)
    for thread in (actor, *callers):
        thread.start()
    for thread in callers:
        thread.join()
    told.put(None)
    actor.join()

    assert max(heard) == 2_999
