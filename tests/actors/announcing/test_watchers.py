"""Who watches which stream: the dead are forgotten, and so are streams that nobody watches."""

from __future__ import annotations

from typing import Any

import pykka

from eventstore_actors.announcing.publisher import Watchers


class FakeRef:
    """A reference that keeps what it is told, or is dead."""

    def __init__(self, name: str) -> None:
        self.actor_urn = name
        self.alive = True
        self.told: list[object] = []

    def tell(self, message: object) -> None:
        if not self.alive:
            raise pykka.ActorDeadError
        self.told.append(message)


def ref(name: str) -> Any:
    return FakeRef(name)


def test_each_stream_has_its_own_watchers() -> None:
    watchers, one, two = Watchers(), ref("one"), ref("two")
    watchers.add("a", one)
    watchers.add("b", two)
    watchers.tell("a", 1)
    watchers.tell_all(2)
    watchers.tell("nobody", 3)
    assert (one.told, two.told) == ([1, 2], [2])


def test_a_dead_watcher_is_forgotten() -> None:
    watchers, one, two = Watchers(), ref("one"), ref("two")
    watchers.add("a", one)
    watchers.add("a", two)
    one.alive = False
    watchers.tell("a", 1)
    two.alive = False
    watchers.tell_all(2)
    assert set(watchers.streams) == set()
    assert two.told == [1]


def test_watching_twice_is_being_told_once() -> None:
    watchers, one = Watchers(), ref("one")
    watchers.add("a", one)
    watchers.add("a", one)
    watchers.tell("a", 1)
    watchers.remove("a", one)
    watchers.remove("a", one)
    watchers.tell_all(2)
    assert one.told == [1]
    assert set(watchers.streams) == set()
